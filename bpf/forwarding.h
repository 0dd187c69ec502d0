/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Which endpoint of this node a MAC on a VLAN is. */
#ifndef CARBONADO_FORWARDING_H
#define CARBONADO_FORWARDING_H

#include <bpf/bpf_helpers.h>
#include "soft-vf-maps.h"

/* The slot of a receiver on this node, 0 when it is elsewhere. */
static __always_inline __u32 receiver_of(const struct forwarding_key *receiver)
{
	__u64 key, *entry;
	__u32 place, *slot;

	__builtin_memcpy(&key, receiver, sizeof(key));
	place = (key >> PLACE_SHIFT ^ key >> 48) & (PLACES - 1);
	entry = bpf_map_lookup_elem(&places, &place);
	if (!entry || !*entry)
		return 0;
	if (*entry != SHARED_PLACE)
		return (*entry ^ key) & ~PLACE_MASK ? 0 : *entry >> PLACE_SHIFT & (PLACES - 1);
	slot = bpf_map_lookup_elem(&forwarding, receiver);
	return slot ? *slot : 0;
}

#endif
