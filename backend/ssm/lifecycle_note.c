/*
 * What we have started is written down, for the case that we are killed: the next awsocks with
 * --auto-stop takes it over, and stops it at its end. An instance that has been started anew since
 * then is somebody else's.
 */
#include <string.h>

#include "backend/ssm/lifecycle.h"
#include "backend/ssm/ssm_impl.h"
#include "base/log.h"
#include "base/str.h"
#include "credentials/aws.h"

enum { SAME_START_MS = 10 * 60 * 1000 };

static int64_t aws_wall_ms(const struct ssm *s)
{
	return clock_wall_ms(loop_clock(s->loop)) + aws_skew_at(s->env.api.aws, s->ec2_endpoint);
}

void lifecycle_note(struct ssm *s)
{
	struct lifecycle *l = &s->life;
	struct err e;

	if (!l->auto_stop || !l->notes)
		return;
	if (note_make(&l->note, l->notes, l->id, aws_wall_ms(s), &e) != 0)
		log_warn("ssm",
			 "%s: that instance %s has to be stopped could not be written down, and is "
			 "forgotten if this awsocks is killed: %s",
			 s->base.name, l->id, e.msg);
}

/* launch_time is that of its last start. */
static bool is_same_start(const struct ec2_instance *i, int64_t started_ms)
{
	int64_t launched_ms, off;

	if (!started_ms || clock_parse_iso(i->launch_time, &launched_ms, NULL) != 0)
		return false;
	off = launched_ms - started_ms;
	return off < SAME_START_MS && off > -SAME_START_MS;
}

void lifecycle_adopt(struct ssm *s, const struct ec2_instance *i)
{
	struct lifecycle *l = &s->life;
	int64_t started_ms;

	if (l->ours || !l->notes)
		return;
	if (!l->auto_stop) {
		if (note_look(l->notes, i->id) == NOTE_LEFT)
			log_warn("ssm",
				 "%s: instance %s was started by an awsocks that was killed before "
				 "it could stop it: --auto-stop takes it over",
				 s->base.name, i->id);
		return;
	}
	if (!note_take(&l->note, l->notes, i->id, &started_ms))
		return;
	if (!is_same_start(i, started_ms)) {
		note_remove(&l->note);
		return;
	}
	str_fmt(l->id, sizeof(l->id), "%s", i->id);
	l->ours = true;
	log_info("ssm",
		 "%s: instance %s was started by an awsocks that was killed before it could stop "
		 "it: it is stopped at the end of this one",
		 s->base.name, l->id);
}

bool lifecycle_has_note(const struct ssm *s, const char *id)
{
	return s->life.notes && note_look(s->life.notes, id) == NOTE_LEFT;
}
