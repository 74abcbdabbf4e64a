/*
 * What kind of kernel a file holds, and its version. x86: "The Linux/x86 Boot Protocol" of Linux
 * (Documentation/x86/boot.rst); the version is a text that the header points to. arm64: "Booting
 * AArch64 Linux"; the header of an Image has none, so the banner is looked for in the whole.
 */
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "vm/kernel_impl.h"
#include "vm/module_info.h"
#include "vm/unpack.h"

enum {
	HEAD = 128 * 1024,
	KERNEL_MAX = 256 * 1024 * 1024,
	X86_MAGIC_AT = 0x202,
	X86_VERSION_AT = 0x20e, /* and 0x200 more */
	ARM64_MAGIC_AT = 0x38,
	ZBOOT_MAGIC_AT = 4
};

enum kind { KIND_OTHER = 0, KIND_BZIMAGE, KIND_VMLINUX, KIND_IMAGE, KIND_PACKED, KIND_ZBOOT };

struct head {
	uint8_t *p; /* HEAD bytes and a NUL */
	size_t n;
};

static enum kind kind_of(const struct head *h)
{
	if (h->n > X86_VERSION_AT + 2 && memcmp(h->p + X86_MAGIC_AT, "HdrS", 4) == 0)
		return KIND_BZIMAGE;
	if (h->n > ARM64_MAGIC_AT + 4 && memcmp(h->p + ARM64_MAGIC_AT, "ARM\x64", 4) == 0)
		return KIND_IMAGE;
	if (h->n > ZBOOT_MAGIC_AT + 4 && memcmp(h->p + ZBOOT_MAGIC_AT, "zimg", 4) == 0)
		return KIND_ZBOOT;
	if (elf_machine(h->p, h->n) == ELF_X86_64)
		return KIND_VMLINUX;
	return unpack_program(h->p, h->n) ? KIND_PACKED : KIND_OTHER;
}

/* "6.1.0-56-cloud-amd64 (who@where) ...": the first word. It becomes part of paths. */
static int first_word(const char *file, const char *text, size_t n, char out[static 128],
		      struct err *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._+~-";
	size_t length = 0;

	while (length < n && text[length] && strchr(allowed, text[length]))
		length++;
	if (!length || length > 127 || text[0] == '.')
		return err_set(e, ERR_CONFIG, "%s: no version is to be found in it", file);
	memcpy(out, text, length);
	out[length] = '\0';
	return 0;
}

static int bzimage_version(const char *file, const struct head *h, char out[static 128],
			   struct err *e)
{
	size_t at = h->p[X86_VERSION_AT] + 256U * h->p[X86_VERSION_AT + 1] + 0x200;

	if (at >= h->n)
		return err_set(e, ERR_CONFIG, "%s: no version is to be found in it", file);
	return first_word(file, (const char *)h->p + at, h->n - at, out, e);
}

static int banner_version(const char *file, const struct buf *image, char out[static 128],
			  struct err *e)
{
	static const char banner[] = "Linux version ";
	const uint8_t *p = buf_ptr(image), *end = p + buf_len(image);

	while ((p = memchr(p, banner[0], (size_t)(end - p))) != NULL) {
		const uint8_t *word = p + sizeof(banner) - 1;

		if ((size_t)(end - p) <= sizeof(banner))
			break;
		if (memcmp(p, banner, sizeof(banner) - 1) == 0 && *word >= '0' && *word <= '9')
			return first_word(file, (const char *)word, (size_t)(end - word), out, e);
		p++;
	}
	return err_set(e, ERR_CONFIG, "%s: no version is to be found in it", file);
}

static int image_version(const char *file, enum kind kind, char out[static 128], struct err *e)
{
	struct buf image;
	struct head h;
	int rc;

	buf_init(&image, KERNEL_MAX);
	rc = unpack_file(file, &image, e);
	h = (struct head){ image.mem, buf_len(&image) };
	if (rc == 0 && kind == KIND_PACKED && kind_of(&h) != KIND_IMAGE)
		rc = err_set(e, ERR_CONFIG, "%s is packed, but not an arm64 Image", file);
	if (rc == 0)
		rc = banner_version(file, &image, out, e);
	buf_free(&image);
	return rc;
}

static int version_of(const char *file, const char *arch, const struct head *h,
		      char out[static 128], struct err *e)
{
	enum kind kind = kind_of(h);
	bool x86 = strcmp(arch, "x86_64") == 0;

	switch (kind) {
	case KIND_BZIMAGE:
	case KIND_VMLINUX:
		if (!x86)
			return err_set(e, ERR_CONFIG, "%s is a kernel for x86_64, not for %s", file,
				       arch);
		return kind == KIND_BZIMAGE ? bzimage_version(file, h, out, e)
					    : image_version(file, kind, out, e);
	case KIND_IMAGE:
	case KIND_PACKED:
		if (x86)
			return err_set(e, ERR_CONFIG, "%s is not a kernel for x86_64 (a bzImage)",
				       file);
		return image_version(file, kind, out, e);
	case KIND_ZBOOT:
		return err_set(e, ERR_CONFIG,
			       "%s is an EFI application (zboot) that only firmware can start: "
			       "awsocks vm fetch-kernel gets another",
			       file);
	case KIND_OTHER: break;
	}
	return err_set(e, ERR_CONFIG, "%s is no kernel (a bzImage or an arm64 Image)", file);
}

int vm_kernel_version(const char *file, const char *arch, char out[static 128], struct err *e)
{
	struct buf head;
	struct head h;
	int rc = -1;

	buf_init(&head, HEAD);
	h.p = buf_reserve(&head, HEAD, e);
	if (h.p && unpack_head(file, h.p, HEAD, &h.n, e) == 0)
		rc = version_of(file, arch, &h, out, e);
	buf_free(&head);
	return rc;
}
