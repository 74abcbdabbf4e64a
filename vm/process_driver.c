/* No VM: the agent as a child of this process, for tests. It dials from the host itself. */
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "vm/driver_impl.h"

static int process_command(const struct vm_spec *s, struct vm_command *c, struct err *e)
{
	memset(c, 0, sizeof(*c));
	vm_command_add(c, "%s", s->program);
	vm_command_add(c, "--conf");
	vm_command_add(c, "%s", s->image->initrd);
	return vm_command_end(c, e);
}

const struct vm_driver vm_driver_process = { "process", VM_VIRTIO_SERIAL, false, process_command };

int vm_process_image(const char *dir, const char *settings, struct vm_image *image, struct err *e)
{
	enum { TEXT_MAX = 16 * 1024, DIGITS = 2 * FRAME_NONCE };
	struct buf text;
	int result;

	memset(image, 0, sizeof(*image));
	if (!str_fmt(image->initrd, sizeof(image->initrd), "%s/conf", dir))
		return err_set(e, ERR_CONFIG, "'%s': the path is too long", dir);
	(void)str_fmt(image->version, sizeof(image->version), "none");
	image->nonce_at = (off_t)strlen("nonce=");
	buf_init(&text, TEXT_MAX);
	result = buf_addf(&text, e, "nonce=%0*d\ntransport=stdin\nnet=none\n%s", DIGITS, 0,
			  settings ? settings : "");
	if (result == 0)
		result = file_replace(image->initrd, buf_ptr(&text), buf_len(&text), e);
	image->initrd_size = buf_len(&text);
	buf_free(&text);
	return result;
}
