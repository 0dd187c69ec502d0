/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/*
 * Notes who else on a VLAN says that an address of ours is its own: RFC 5227 section 2.4 for ARP, RFC 4862 section 5.4
 * for neighbour discovery; and who sends under a MAC of ours. Frames are only looked at.
 */
#ifndef CARBONADO_DUPLICATE_ADDRESS_H
#define CARBONADO_DUPLICATE_ADDRESS_H

#include "anti-spoof.h"
#include "soft-vf-maps.h"

/* Which of an endpoint's addresses. */
#define DUPLICATE_MAC 1
#define DUPLICATE_IPV4 4
#define DUPLICATE_IPV6 6
#define DUPLICATE_LINK_LOCAL 7

/* src/network/soft-vf/duplicate-layout.ts mirrors these structures. */
struct duplicate_key {
	__u32 slot;
	__u8 mac[6]; /* of the other host */
	__u16 which;
};

struct duplicate {
	__u8 id[16]; /* of the endpoint that had the slot then */
	__u64 last;  /* nanoseconds */
	__u64 count;
};

/* Bounded, and what was not heard for longest goes first: hosts that make up MACs cannot fill it for good. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct duplicate_key);
	__type(value, struct duplicate);
} duplicates SEC(".maps");

/* What a frame says: `mac` has this address. */
struct address_use {
	__u8 address[16]; /* the first four bytes for IPv4 */
	__u8 mac[6];
	__u16 vlan;
	__u32 is_ipv6;
};

static __always_inline __u16 which_address(const struct endpoint *endpoint, const struct address_use *use)
{
	if (!use->is_ipv6)
		return endpoint->ipv4 && *(const __be32 *)use->address == endpoint->ipv4 ? DUPLICATE_IPV4 : 0;
	if (same_ipv6(use->address, endpoint->link_local))
		return DUPLICATE_LINK_LOCAL;
	return owns_ipv6(endpoint, use->address) ? DUPLICATE_IPV6 : 0;
}

static __always_inline void note_duplicate(const struct duplicate_key *key, const struct endpoint *endpoint)
{
	struct duplicate fresh = {.last = bpf_ktime_get_ns()}, *known = bpf_map_lookup_elem(&duplicates, key);

	__builtin_memcpy(fresh.id, endpoint->id, 16);
	fresh.count = known && *(__u64 *)known->id == *(__u64 *)endpoint->id ? known->count + 1 : 1;
	bpf_map_update_elem(&duplicates, key, &fresh, BPF_ANY);
}

static long compare_with_endpoint(void *map, __u32 *slot, struct endpoint *endpoint, struct address_use *use)
{
	struct duplicate_key key = {.slot = *slot};

	if (endpoint->vlan != use->vlan || !*(__u64 *)endpoint->id || same_mac(endpoint->mac, use->mac))
		return 0;
	key.which = which_address(endpoint, use);
	if (!key.which)
		return 0;
	__builtin_memcpy(key.mac, use->mac, 6);
	note_duplicate(&key, endpoint);
	return 1;
}

/* The sender address of ARP. A probe (sender 0) claims nothing: whoever sends it asks before it takes. */
static __always_inline int read_arp_use(struct __sk_buff *skb, struct address_use *use)
{
	struct arp_ethernet arp;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) || arp.hardware != bpf_htons(1) ||
	    arp.protocol != bpf_htons(ETH_P_IP))
		return 0;
	__builtin_memcpy(use->address, arp.sender_ip, 4);
	__builtin_memcpy(use->mac, arp.sender_mac, 6);
	return *(__be32 *)use->address != 0;
}

/* The target of a neighbour advertisement, the source of a solicitation. */
static __always_inline int read_nd_use(struct __sk_buff *skb, struct address_use *use)
{
	struct nd_message message;
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.nexthdr != IPPROTO_ICMPV6 ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &message, sizeof(message)))
		return 0;
	if (message.type == ICMPV6_NEIGHBOUR_ADVERTISEMENT)
		__builtin_memcpy(use->address, message.target, 16);
	else if (message.type == ICMPV6_NEIGHBOUR_SOLICITATION)
		__builtin_memcpy(use->address, &ip.saddr, 16);
	else
		return 0;
	use->is_ipv6 = 1;
	return !zero_ipv6(use->address);
}

/* Of unicast frames one in so many is looked at, since every other costs a look into a map. A power of two. */
#define MAC_SAMPLE 16

/* To be called for every frame from the wire. No frame of ours comes back by the uplink, unless the switches loop. */
static __always_inline void watch_for_duplicate_mac(const struct ethhdr *ethernet, __u16 vlan)
{
	struct duplicate_key key = {.which = DUPLICATE_MAC};
	struct forwarding_key source = {.vlan = vlan};
	struct endpoint *endpoint;
	__u32 *slot;

	if (!(ethernet->h_dest[0] & 1) && bpf_get_prandom_u32() & (MAC_SAMPLE - 1))
		return;
	__builtin_memcpy(source.mac, ethernet->h_source, 6);
	slot = bpf_map_lookup_elem(&forwarding, &source);
	endpoint = slot ? bpf_map_lookup_elem(&endpoints, slot) : 0;
	if (!endpoint)
		return;
	key.slot = *slot;
	__builtin_memcpy(key.mac, source.mac, 6);
	note_duplicate(&key, endpoint);
}

/* To be called for every frame from the wire; costs others than ARP and IPv6 a comparison. */
static __always_inline void watch_for_duplicates(struct __sk_buff *skb, const struct ethhdr *ethernet, __u16 vlan)
{
	struct address_use use = {.vlan = vlan};
	int found = 0;

	if (ethernet->h_proto == bpf_htons(ETH_P_ARP)) {
		found = read_arp_use(skb, &use);
	} else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		__builtin_memcpy(use.mac, ethernet->h_source, 6);
		found = read_nd_use(skb, &use);
	}
	if (found)
		bpf_for_each_map_elem(&endpoints, compare_with_endpoint, &use, 0);
}

#endif
