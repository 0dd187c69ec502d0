/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Token buckets that hold endpoints to their caps, what they send and what they receive. */
#ifndef CARBONADO_CAPS_H
#define CARBONADO_CAPS_H

#include <bpf/bpf_helpers.h>
#include "soft-vf-maps.h"

/* The bucket is wider than the shaper inside the container, so that it only ever stops who goes around that. */
#define BUCKET_SLACK_BYTES (256 * 1024)
/* Like the least burst of the queue that keeps a receive cap (capBucket in src/network/soft-vf/shaping.ts). */
#define LEAST_RECEIVE_DEPTH (128 * 1024)
#define REFILL_NANOSECONDS 10000

/* A token bucket that several processors may spend from at once: the worst case lets one frame too many pass. */
static __always_inline int within_cap(__u32 slot, __u64 cap, __u64 length)
{
	struct bucket *bucket = bpf_map_lookup_elem(&buckets, &slot);
	__u64 now = bpf_ktime_get_ns(), depth = cap / 10 + BUCKET_SLACK_BYTES, elapsed, tokens;

	if (!bucket)
		return 0;
	elapsed = now - bucket->last;
	if (elapsed > NANOSECONDS)
		elapsed = NANOSECONDS;
	tokens = bucket->tokens + cap * (elapsed / 1000) / 1000000;
	bucket->last = now;
	if (tokens > depth)
		tokens = depth;
	if (tokens < length) {
		bucket->tokens = tokens;
		return 0;
	}
	bucket->tokens = tokens - length;
	return 1;
}

/* Adds what has come in since the last time, up to `depth`. */
static __always_inline void refill(struct receive_bucket *bucket, __u64 cap, __s64 depth)
{
	__u64 now = bpf_ktime_get_ns(), last = bucket->last, elapsed = now - last;
	__s64 fresh, room = depth - bucket->tokens;

	if ((__s64)elapsed < REFILL_NANOSECONDS || __sync_val_compare_and_swap(&bucket->last, last, now) != last)
		return;
	fresh = cap * ((elapsed > NANOSECONDS ? NANOSECONDS : elapsed) / 1000) / 1000000;
	__sync_fetch_and_add(&bucket->tokens, fresh < room ? fresh : room);
}

/*
 * Whether a frame may go past the queue that keeps a receive cap. All frames are paid for, also those that queue, so that
 * both ways together are held to the cap, and so that nothing waits in the queue any more when tokens are back: it has the
 * same rate, and not a smaller burst. Half of the tokens must be, or frames could overtake those that have just left it.
 */
static __always_inline int may_pass_queue(__u32 slot, __u64 cap, __u64 length)
{
	struct receive_bucket *bucket = bpf_map_lookup_elem(&receive_buckets, &slot);
	__s64 depth = cap / 100, tokens;

	if (!bucket)
		return 0;
	if (depth < LEAST_RECEIVE_DEPTH)
		depth = LEAST_RECEIVE_DEPTH;
	refill(bucket, cap, depth);
	if (bucket->tokens > -10 * depth) /* more debt than the queue holds is of no use */
		__sync_fetch_and_add(&bucket->tokens, -(__s64)length);
	tokens = bucket->tokens;
	if (tokens < 0)
		bucket->queued = 1;
	else if (tokens > depth / 2)
		bucket->queued = 0;
	return !bucket->queued;
}

#endif
