/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The agent reads the counters of all endpoints as a file, and there whether frames to each of them find it. */
#ifndef CARBONADO_COUNTERS_FILE_H
#define CARBONADO_COUNTERS_FILE_H

#include <bpf/bpf_helpers.h>
#include "counting.h"
#include "forwarding.h"
#include "map-iterator.h"
#include "soft-vf-maps.h"

/* More processors than any machine has that runs this. */
#define MOST_PROCESSORS 1024

/* The slots of one group, while they are told. */
struct telling {
	struct seq_file *file;
	__u32 first;
};

static __always_inline void add_traffic(struct counters *sum, __u32 slot)
{
	for (int processor = 0; processor < MOST_PROCESSORS; processor++) {
		struct traffic *count = bpf_map_lookup_percpu_elem(&traffic, &slot, processor);

		if (!count)
			return;
		sum->sent_bytes += count->sent_bytes;
		sum->sent_packets += count->sent_packets;
		sum->received_bytes += count->received_bytes;
		sum->received_packets += count->received_packets;
		sum->delivered_bytes += count->delivered_bytes;
	}
}

/* Whether frames to the endpoint in a slot find it, whichever map they look at. */
static __always_inline int is_found(__u32 slot)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &slot);
	struct forwarding_key key = {};
	__u32 *forwarded;

	if (!endpoint)
		return 0;
	__builtin_memcpy(key.mac, endpoint->mac, sizeof(key.mac));
	key.vlan = endpoint->vlan;
	forwarded = bpf_map_lookup_elem(&forwarding, &key);
	return forwarded && *forwarded == slot && receiver_of(&key) == slot;
}

static long tell_slot(__u64 index, struct telling *telling)
{
	__u32 slot = telling->first + index;
	struct counters *value = counters_of(slot), sum;
	struct counters_head head = {.slot = slot};

	if (!value || !value->in_use)
		return 0;
	head.flags = is_found(slot) ? RECEIVER_FOUND : 0;
	sum = *value;
	add_traffic(&sum, slot);
	bpf_seq_write(telling->file, &head, sizeof(head));
	bpf_seq_write(telling->file, &sum, sizeof(sum));
	return 0;
}

/*
 * A file of all counters in use: pinned in bpffs, each read returns records of struct counters_head and struct counters.
 * By groups, because to be called for each of some thousand slots, most of them free, costs more than all the rest.
 */
SEC("iter/bpf_map_elem")
int counters_file(struct bpf_iter__bpf_map_elem *context)
{
	__u32 *group = context->key;
	struct telling telling = {.file = context->meta->seq};

	if (!group)
		return 0;
	telling.first = *group * SLOTS_OF_GROUP;
	bpf_loop(SLOTS_OF_GROUP, tell_slot, &telling, 0);
	return 0;
}

#endif
