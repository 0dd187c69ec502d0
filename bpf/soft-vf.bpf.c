// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/*
 * The datapath of the soft-vf engine: one program on the host side of every endpoint's veth, one on the uplink, and one
 * where frames leave a device after shaping. docs/data-path.md follows a packet through them.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "anti-spoof.h"
#include "caps.h"
#include "counters-file.h"
#include "counting.h"
#include "delivered.h"
#include "duplicate-address.h"
#include "forwarding.h"
#include "receiver-limit.h"
#include "soft-vf-maps.h"
#include "soft-vf.h"

/* Ethernet and an IPv4 header without options. */
#define LINEAR_HEADERS (ETH_HLEN + sizeof(struct iphdr))

/* Gives a frame without tag to a local endpoint. */
static __always_inline int deliver(__u32 slot, struct size size)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &slot);

	if (!endpoint)
		return TC_ACT_SHOT;
	count_received(slot, size);
	if (endpoint->flags & ENDPOINT_HOST_LEG ||
	    (endpoint->flags & ENDPOINT_CAPPED && !may_pass_queue(slot, endpoint->cap, size.bytes)))
		return bpf_redirect(INTERFACE_INDEX_BASE + slot, 0);
	return bpf_redirect_peer(INTERFACE_INDEX_BASE + slot, 0);
}

/* The limit for a receiver, if there is one in force. */
static __always_inline struct receiver_limit *limit_for(const struct forwarding_key *receiver)
{
	struct receiver_limit *limit = bpf_map_lookup_elem(&limits, receiver);

	return limit && bpf_ktime_get_ns() < limit->expiry ? limit : 0;
}

/* Into the limiter, from which from_limiter takes the frame on. */
static __always_inline int to_limiter(struct __sk_buff *skb, __u32 slot, const struct receiver_limit *limit)
{
	skb->mark = slot;
	skb->priority = CLASS_MAJOR << 16 | limit->minor;
	return bpf_redirect(LIMITER_INDEX, 0);
}

static __always_inline int has_room(const struct forwarding_key *receiver, const struct receiver_limit *limit, __u32 slot,
				    __u64 length)
{
	struct limit_state *state = bpf_map_lookup_elem(&limit_states, receiver);
	__u64 now = bpf_ktime_get_ns(), rate = limit->rate;
	int has;

	if (!state)
		return 1;
	bpf_spin_lock(&state->lock);
	has = may_wait(state, rate, slot, now, length);
	bpf_spin_unlock(&state->lock);
	return has;
}

struct flood {
	struct __sk_buff *skb;
	__u16 vlan;
	__u32 except; /* interface index */
};

static long flood_to_one(void *map, __u32 *slot, struct endpoint *endpoint, struct flood *flood)
{
	__u32 index = INTERFACE_INDEX_BASE + *slot;

	if (!*(__u64 *)endpoint->id || endpoint->vlan != flood->vlan || index == flood->except)
		return 0;
	count_received(*slot, size_of(flood->skb));
	bpf_clone_redirect(flood->skb, index, 0);
	return 0;
}

/* Copies a broadcast or multicast frame without tag to every local member of its VLAN. */
static __always_inline void flood_locally(struct __sk_buff *skb, __u16 vlan, __u32 except)
{
	struct flood flood = {.skb = skb, .vlan = vlan, .except = except};

	bpf_for_each_map_elem(&endpoints, flood_to_one, &flood, 0);
}

static __always_inline int drop(__u32 slot, __u32 reason)
{
	struct counters *count = counters_of(slot);

	if (count && reason < DROP_REASONS)
		__sync_fetch_and_add(&count->drops[reason], 1);
	return TC_ACT_SHOT;
}

static __always_inline int to_uplink(struct __sk_buff *skb, __u32 slot, const struct endpoint *endpoint,
				     struct traffic *count, const struct configuration *config, __u64 length)
{
	if (!config->uplink)
		return TC_ACT_SHOT;
	skb->priority = CLASS_MAJOR << 16 | slot;
	if (!config->shaped) /* nothing waits or is lost on this node */
		count->delivered_bytes += length;
	if (endpoint->floor)
		skb->cb[0] = (__u32)(bpf_ktime_get_ns() >> 10);
	if (endpoint->vlan && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), endpoint->vlan))
		return TC_ACT_SHOT;
	return bpf_redirect(config->uplink, 0);
}

/* A frame that may leave its endpoint goes where it is meant to: into a container here, or out. */
static __always_inline int send_on(struct __sk_buff *skb, __u32 slot, const struct endpoint *endpoint,
				   struct traffic *count, const struct configuration *config,
				   const struct forwarding_key *key, struct size size)
{
	__u32 receiver = receiver_of(key);

	if (!receiver)
		return to_uplink(skb, slot, endpoint, count, config, size.bytes);
	if (config->flags & ARRIVALS_COUNTED)
		count_arrival(endpoint->mac, endpoint->vlan, receiver, size);
	return deliver(receiver, size);
}

SEC("tc")
int from_endpoint(struct __sk_buff *skb)
{
	__u32 slot = skb->ifindex - INTERFACE_INDEX_BASE, zero = 0;
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &slot);
	struct configuration *config = bpf_map_lookup_elem(&configuration, &zero);
	struct traffic *count = traffic_of(slot);
	struct receiver_limit *limit = 0;
	struct forwarding_key key = {};
	struct ethhdr *ethernet;
	struct size size;
	int verdict;

	if (!endpoint || !count || !config || !*(__u64 *)endpoint->id)
		return TC_ACT_SHOT;
	if ((void *)(long)skb->data + LINEAR_HEADERS > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, skb->len < LINEAR_HEADERS ? skb->len : LINEAR_HEADERS);
	ethernet = (void *)(long)skb->data;
	if ((void *)(ethernet + 1) > (void *)(long)skb->data_end)
		return drop(slot, DROP_MALFORMED);
	verdict = judge(skb, endpoint, ethernet, (void *)(long)skb->data_end);
	if (verdict != MAY_PASS)
		return drop(slot, verdict);
	size = size_of(skb);
	if (endpoint->cap && !within_cap(slot, endpoint->cap, size.bytes))
		return drop(slot, DROP_CAP);
	__builtin_memcpy(key.mac, ethernet->h_dest, 6);
	key.vlan = endpoint->vlan;
	if (config->flags & LIMITS_IN_FORCE) {
		limit = limit_for(&key);
		if (limit && !has_room(&key, limit, slot, size.bytes))
			return drop(slot, DROP_RECEIVER_LIMIT);
	}
	count->sent_bytes += size.bytes;
	count->sent_packets += size.packets;
	if (limit)
		return to_limiter(skb, slot, limit);

	if (key.mac[0] & 1) {
		flood_locally(skb, endpoint->vlan, skb->ifindex);
		return to_uplink(skb, slot, endpoint, count, config, size.bytes);
	}
	return send_on(skb, slot, endpoint, count, config, &key, size);
}

/* What has waited in the limiter. Nobody else sends there: the mark is the slot that from_endpoint wrote. */
SEC("tc")
int from_limiter(struct __sk_buff *skb)
{
	__u32 slot = skb->mark, zero = 0;
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &slot);
	struct configuration *config = bpf_map_lookup_elem(&configuration, &zero);
	struct traffic *count = traffic_of(slot);
	struct ethhdr *ethernet = (void *)(long)skb->data;
	struct forwarding_key key = {};
	struct limit_state *state;
	struct size size = size_of(skb);
	__u64 now = bpf_ktime_get_ns();

	if (!endpoint || !count || !config || !*(__u64 *)endpoint->id ||
	    (void *)(ethernet + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	skb->mark = 0;
	__builtin_memcpy(key.mac, ethernet->h_dest, 6);
	key.vlan = endpoint->vlan;
	state = bpf_map_lookup_elem(&limit_states, &key);
	if (state) {
		bpf_spin_lock(&state->lock);
		note_passed(state, slot, now, size.bytes);
		bpf_spin_unlock(&state->lock);
	}
	return send_on(skb, slot, endpoint, count, config, &key, size);
}

static __always_inline int hear(struct __sk_buff *skb, __u16 vlan)
{
	struct heard_key key = {.vlan = vlan};
	__u64 now = bpf_ktime_get_ns();
	struct probe probe;

	if (!bpf_skb_load_bytes(skb, ETH_HLEN, &probe, sizeof(probe)) && probe.magic == bpf_htonl(PROBE_MAGIC)) {
		key.node = bpf_ntohl(probe.node);
		bpf_map_update_elem(&heard, &key, &now, BPF_ANY);
	}
	return TC_ACT_SHOT;
}

/* Run by the agent (BPF_PROG_TEST_RUN) to send a frame of its own: cb[0] the VLAN, cb[1] whether members here get it. */
SEC("tc")
int send_frame(struct __sk_buff *skb)
{
	__u32 zero = 0, vlan = skb->cb[0];
	struct configuration *config = bpf_map_lookup_elem(&configuration, &zero);

	if (!config)
		return TC_ACT_SHOT;
	if (skb->cb[1])
		flood_locally(skb, vlan, 0);
	if (vlan && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), vlan))
		return TC_ACT_SHOT;
	return bpf_clone_redirect(skb, config->uplink, 0);
}

SEC("tc")
int from_wire(struct __sk_buff *skb)
{
	struct ethhdr *ethernet = (void *)(long)skb->data;
	struct forwarding_key key = {};
	struct configuration *config;
	__u32 receiver, zero = 0;
	int counted;

	if ((void *)(ethernet + 1) > (void *)(long)skb->data_end)
		return TC_ACT_OK;
	config = bpf_map_lookup_elem(&configuration, &zero);
	counted = config && config->flags & ARRIVALS_COUNTED;
	if (skb->vlan_present)
		key.vlan = skb->vlan_tci & 0xfff;
	skb->priority = 0;
	watch_for_duplicates(skb, ethernet, key.vlan);
	watch_for_duplicate_mac(ethernet, key.vlan);
	if (ethernet->h_dest[0] & 1) {
		if (ethernet->h_proto == bpf_htons(PROBE_ETHERTYPE))
			return hear(skb, key.vlan);
		if (counted)
			count_arrival(ethernet->h_source, key.vlan, 0, size_of(skb));
		if (key.vlan && bpf_skb_vlan_pop(skb))
			return TC_ACT_SHOT;
		flood_locally(skb, key.vlan, 0);
		/* Untagged frames are the host's too; tagged ones were only looked at by members. */
		return key.vlan ? TC_ACT_SHOT : TC_ACT_OK;
	}
	__builtin_memcpy(key.mac, ethernet->h_dest, 6);
	receiver = receiver_of(&key);
	if (counted)
		count_arrival(ethernet->h_source, key.vlan, receiver, size_of(skb));
	if (!receiver)
		return TC_ACT_OK;
	if (key.vlan && bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	return deliver(receiver, size_of(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
