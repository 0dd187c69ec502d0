/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Spends the tokens of a limit, fairly among the senders of this node (docs/decisions/0071). */
#ifndef CARBONADO_RECEIVER_LIMIT_H
#define CARBONADO_RECEIVER_LIMIT_H

#include <bpf/bpf_helpers.h>
#include "soft-vf.h"

#define MAXIMUM_LIMITS 16384
/* A sender that has been silent for one to two epochs has no share any more. */
#define LIMIT_EPOCH 20000000ull
/* How long tokens are kept, in nanoseconds: what may leave at once after a pause. */
#define LIMIT_DEPTH 5000000ull
/* A token is what a rate of a byte per second earns in 2^20 ns, so that little is lost between frames close together. */
#define TOKEN_SHIFT 20
#define TOKENS_PER_BYTE 954

static __always_inline __u32 count_bits(__u32 bits)
{
	bits = (bits & 0x5555) + (bits >> 1 & 0x5555);
	bits = (bits & 0x3333) + (bits >> 2 & 0x3333);
	bits = (bits & 0x0f0f) + (bits >> 4 & 0x0f0f);
	return (bits & 0xff) + (bits >> 8);
}

static __always_inline void turn_epoch(struct limit_state *state, __u64 now)
{
	if (now - state->epoch < LIMIT_EPOCH)
		return;
	state->active_before = now - state->epoch < 2 * LIMIT_EPOCH ? state->active : 0;
	state->active = 0;
	state->epoch = now;
}

/* Gives a share what it earned since its last frame; what it cannot keep is spare. */
static __always_inline void earn(struct limit_state *state, struct limit_share *share, __u64 rate, __u64 now)
{
	__u64 own = rate / count_bits(state->active | state->active_before), elapsed = now - share->last;
	__s64 depth = own * LIMIT_DEPTH >> TOKEN_SHIFT, spare_depth = rate * LIMIT_DEPTH >> TOKEN_SHIFT;

	if (elapsed > 2 * LIMIT_EPOCH)
		elapsed = 2 * LIMIT_EPOCH;
	share->last = now;
	share->tokens += own * elapsed >> TOKEN_SHIFT;
	if (share->tokens > depth) {
		state->spare += share->tokens - depth;
		share->tokens = depth;
	}
	if (state->spare > spare_depth)
		state->spare = spare_depth;
}

/* Whether a frame of `length` wire bytes may pass. Call it with the lock held; `index` is below LIMIT_SHARES. */
static __always_inline int spend(struct limit_state *state, __u64 rate, __u32 index, __u64 now, __u64 length)
{
	struct limit_share *share = &state->shares[index & (LIMIT_SHARES - 1)];
	__u32 bit = 1u << (index & (LIMIT_SHARES - 1));

	turn_epoch(state, now);
	if (!((state->active | state->active_before) & bit))
		share->last = now; /* nothing is earned by silence: others had it */
	state->active |= bit;
	earn(state, share, rate, now);
	if (share->tokens >= 0)
		share->tokens -= length * TOKENS_PER_BYTE;
	else if (state->spare > 0)
		state->spare -= length * TOKENS_PER_BYTE;
	else {
		state->dropped_bytes += length;
		return 0;
	}
	state->passed_bytes += length;
	return 1;
}

#endif
