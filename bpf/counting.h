/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What endpoints send and receive, and what arrives from whom, is counted; counters-file.h is how the agent reads it. */
#ifndef CARBONADO_COUNTING_H
#define CARBONADO_COUNTING_H

#include <bpf/bpf_helpers.h>
#include "soft-vf-maps.h"

/* Headers that every further segment of a GSO packet adds on the wire: Ethernet, IPv4, TCP with timestamps. */
#define SEGMENT_HEADERS 66

/* What a frame is on the wire. */
struct size {
	__u64 bytes;
	__u64 packets;
};

static __always_inline struct size size_of(struct __sk_buff *skb)
{
	__u32 segments = skb->gso_segs;
	struct size one = {.bytes = skb->len, .packets = 1};
	struct size several = {.bytes = skb->len + (segments - 1) * SEGMENT_HEADERS, .packets = segments};

	return segments > 1 ? several : one;
}

static __always_inline struct counters *counters_of(__u32 slot)
{
	return bpf_map_lookup_elem(&counters, &slot);
}

static __always_inline struct traffic *traffic_of(__u32 slot)
{
	return bpf_map_lookup_elem(&traffic, &slot);
}

static __always_inline void count_received(__u32 slot, struct size size)
{
	struct traffic *count = traffic_of(slot);

	if (!count)
		return;
	count->received_bytes += size.bytes;
	count->received_packets += size.packets;
}

static __always_inline void count_arrival(const __u8 *source, __u16 vlan, __u32 slot, struct size size)
{
	struct arrival_key key = {.vlan = vlan, .slot = slot};
	struct arrival first = {.bytes = size.bytes, .packets = size.packets};
	struct arrival *arrival;

	__builtin_memcpy(key.source, source, 6);
	arrival = bpf_map_lookup_elem(&arrivals, &key);
	if (!arrival) {
		bpf_map_update_elem(&arrivals, &key, &first, BPF_ANY);
		return;
	}
	__sync_fetch_and_add(&arrival->bytes, first.bytes);
	__sync_fetch_and_add(&arrival->packets, first.packets);
}

#endif
