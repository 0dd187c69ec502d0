/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* One-second windows of demand, and whether the floor was delivered in them (docs/decisions/0052). */
#ifndef CARBONADO_ATTAINMENT_H
#define CARBONADO_ATTAINMENT_H

#include <bpf/bpf_helpers.h>
#include "soft-vf.h"

#define TENTH (NANOSECONDS / 10)
/* A queue whose shortest wait in a tenth of a second stays above this has demand waiting. */
#define STANDING_QUEUE_MICROSECONDS 200
/* Share of the floor, in percent, from which on it counts as delivered. */
#define ATTAINED_PERCENT 95

static __always_inline void close_window(struct counters *count, struct window *window, __u64 floor)
{
	count->windows_with_demand++;
	if (window->bytes * 100 >= floor * ATTAINED_PERCENT)
		count->windows_attained++;
	window->start += NANOSECONDS;
	window->bytes = 0;
	window->tenth = 0;
}

/* Closes the open tenth; returns 0 when it had no demand. `since`: the frame at hand has been waiting from then on. */
static __always_inline int close_tenth(struct counters *count, struct window *window, __u64 floor, __u64 since)
{
	__u64 began = window->start + window->tenth * TENTH;
	int waiting = window->tenth_packets ? window->shortest_wait >= STANDING_QUEUE_MICROSECONDS : since <= began;

	if (!waiting && window->tenth_bytes * 1000 < floor * ATTAINED_PERCENT)
		return 0;
	window->bytes += window->tenth_bytes;
	window->tenth_bytes = 0;
	window->tenth_packets = 0;
	window->shortest_wait = ~0u;
	if (++window->tenth >= 10)
		close_window(count, window, floor);
	return 1;
}

/* A frame of `length` bytes has left the queue after `wait` microseconds. `floor` is in bytes per second. */
static __always_inline void judge_window(struct counters *count, __u64 floor, __u32 length, __u32 wait)
{
	__u64 now = bpf_ktime_get_ns(), since = now - (__u64)wait * 1024;
	struct window *window = &count->window;

	for (int i = 0; i < 32 && window->start && now >= window->start + (window->tenth + 1) * TENTH; i++)
		if (!close_tenth(count, window, floor, since))
			window->start = 0;
	if (!window->start || now >= window->start + (window->tenth + 1) * TENTH) {
		__builtin_memset(window, 0, sizeof(*window));
		window->start = since;
		window->shortest_wait = ~0u;
	}
	window->tenth_bytes += length;
	window->tenth_packets++;
	if (wait < window->shortest_wait)
		window->shortest_wait = wait;
}

#endif
