/* What VMM and guest say, as it came: whoever shows it takes the control bytes out. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "vm/machine_impl.h"

int words_init(struct words *w, struct err *e)
{
	w->ring = mem_alloc(MACHINE_CONSOLE);
	return w->ring ? 0 : err_set(e, ERR_NOMEM, "VM's console");
}

void words_free(struct words *w)
{
	mem_free(w->ring);
	w->ring = NULL;
}

static void add_to_ring(struct words *w, const char *p, size_t n)
{
	if (n > MACHINE_CONSOLE) {
		p += n - MACHINE_CONSOLE;
		n = MACHINE_CONSOLE;
	}
	while (n) {
		size_t room = MACHINE_CONSOLE - w->at, part = n < room ? n : room;

		memcpy(w->ring + w->at, p, part);
		w->at = (w->at + part) % MACHINE_CONSOLE;
		w->len = w->len + part < MACHINE_CONSOLE ? w->len + part : MACHINE_CONSOLE;
		p += part;
		n -= part;
	}
}

static bool is_blank(const char *s)
{
	return s[strspn(s, " \t")] == '\0';
}

/* A kernel that panics goes on to say where, in many lines. */
static bool is_reason(const char *line)
{
	return strstr(line, "Kernel panic") != NULL;
}

static void end_line(struct words *w, enum vm_voice v)
{
	w->voice[v].line[w->voice[v].used] = '\0';
	w->voice[v].used = 0;
	if (!is_blank(w->voice[v].line) && !is_reason(w->voice[v].last))
		memcpy(w->voice[v].last, w->voice[v].line, MACHINE_LINE);
}

void words_add(struct words *w, enum vm_voice v, const char *p, size_t n)
{
	add_to_ring(w, p, n);
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n' || p[i] == '\r' || p[i] == '\0')
			end_line(w, v);
		else if (w->voice[v].used < MACHINE_LINE - 1)
			w->voice[v].line[w->voice[v].used++] = p[i];
	}
}

void words_new_run(struct words *w)
{
	memset(w->voice, 0, sizeof(w->voice));
}

/* An unfinished line is the last one. */
static void last_line(const struct words *w, enum vm_voice v, char to[static MACHINE_LINE])
{
	memcpy(to, w->voice[v].line, w->voice[v].used);
	to[w->voice[v].used] = '\0';
	if (is_blank(to) || is_reason(w->voice[v].last))
		memcpy(to, w->voice[v].last, MACHINE_LINE);
}

void words_explain(const struct words *w, struct err *e)
{
	char vmm[MACHINE_LINE], console[MACHINE_LINE];
	struct err before = *e;

	last_line(w, VM_VOICE_VMM, vmm);
	last_line(w, VM_VOICE_CONSOLE, console);
	if (!*vmm && !*console)
		return;
	str_ascii(vmm);
	str_ascii(console);
	(void)err_set(e, before.code, "%s; its last words: %s", before.msg, *vmm ? vmm : console);
	e->sys = before.sys;
	e->passes = before.passes;
}

size_t machine_console(const struct machine *m, char *to, size_t cap)
{
	const struct words *w = &m->words;
	size_t n = w->len < cap ? w->len : cap;
	size_t from = (w->at + MACHINE_CONSOLE - n) % MACHINE_CONSOLE;

	for (size_t i = 0; i < n; i++)
		to[i] = w->ring[(from + i) % MACHINE_CONSOLE];
	return n;
}
