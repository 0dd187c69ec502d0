/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Lets frames for a limited receiver into the queue of the limiter, fairly among the senders of this node. */
#ifndef CARBONADO_RECEIVER_LIMIT_H
#define CARBONADO_RECEIVER_LIMIT_H

#include <bpf/bpf_helpers.h>
#include "soft-vf.h"

#define MAXIMUM_LIMITS 16384
/* A sender that has been silent for one to two epochs has no part of the queue any more. */
#define LIMIT_EPOCH 20000000ull
/* How much may wait: what the limit lets through in 1/LIMIT_DEPTH of a second, but at least two large GSO packets. */
#define LIMIT_DEPTH 50
#define LEAST_LIMIT_DEPTH (128 * 1024)
/* When nothing has gone on for so long, what waited has got lost: its class was removed. Nanoseconds. */
#define LIMIT_PATIENCE 4000000000ull

static __always_inline __u32 count_bits(__u32 bits)
{
	bits = (bits & 0x5555) + (bits >> 1 & 0x5555);
	bits = (bits & 0x3333) + (bits >> 2 & 0x3333);
	bits = (bits & 0x0f0f) + (bits >> 4 & 0x0f0f);
	return (bits & 0xff) + (bits >> 8);
}

static __always_inline void note_active(struct limit_state *state, __u32 index, __u64 now)
{
	if (now - state->epoch >= LIMIT_EPOCH) {
		state->active_before = now - state->epoch < 2 * LIMIT_EPOCH ? state->active : 0;
		state->active = 0;
		state->epoch = now;
	}
	state->active |= 1u << index;
}

/* Whether a frame of `length` bytes may wait. Call it with the lock held. */
static __always_inline int may_wait(struct limit_state *state, __u64 rate, __u32 slot, __u64 now, __u64 length)
{
	__u32 index = slot % LIMIT_SHARES;
	struct limit_share *share = &state->shares[index];
	__u64 depth = rate / LIMIT_DEPTH;

	if (depth < LEAST_LIMIT_DEPTH)
		depth = LEAST_LIMIT_DEPTH;
	note_active(state, index, now);
	if (now > share->last && now - share->last > LIMIT_PATIENCE)
		share->waiting = 0;
	if (!share->waiting)
		share->last = now;
	if (share->waiting && share->waiting + length > depth / count_bits(state->active | state->active_before)) {
		state->dropped_bytes += length;
		return 0;
	}
	share->waiting += length;
	return 1;
}

/* A frame goes on. Call it with the lock held. */
static __always_inline void note_passed(struct limit_state *state, __u32 slot, __u64 now, __u64 length)
{
	struct limit_share *share = &state->shares[slot % LIMIT_SHARES];

	share->waiting -= length < share->waiting ? length : share->waiting;
	share->last = now;
	state->passed_bytes += length;
}

#endif
