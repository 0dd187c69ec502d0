// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/*
 * The datapath of the soft-vf engine: one program on the host side of every endpoint's veth, one on the uplink, and one
 * where frames leave a device after shaping. docs/data-path.md follows a packet through them.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "anti-spoof.h"
#include "attainment.h"
#include "map-iterator.h"
#include "receiver-limit.h"
#include "soft-vf.h"

/* Headers that every further segment of a GSO packet adds on the wire: Ethernet, IPv4, TCP with timestamps. */
#define SEGMENT_HEADERS 66
/* Most frames that a driver is handed at once. */
#define BULK 64
/* Ethernet and an IPv4 header without options. */
#define LINEAR_HEADERS (ETH_HLEN + sizeof(struct iphdr))
/* The bucket is wider than the shaper inside the container, so that it only ever stops who goes around that. */
#define BUCKET_SLACK_BYTES (256 * 1024)
/* Like the least burst of the queue that keeps a receive cap (capBucket in src/network/soft-vf/shaping.ts). */
#define LEAST_RECEIVE_DEPTH (128 * 1024)
#define REFILL_NANOSECONDS 10000

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAXIMUM_SLOTS);
	__type(key, __u32);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAXIMUM_SLOTS * 2);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct forwarding_key);
	__type(value, __u32); /* slot */
} forwarding SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAXIMUM_SLOTS);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAXIMUM_SLOTS);
	__type(key, __u32);
	__type(value, struct traffic);
} traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, __u64);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAXIMUM_SLOTS);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAXIMUM_SLOTS);
	__type(key, __u32);
	__type(value, struct receive_bucket);
} receive_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct configuration);
} configuration SEC(".maps");

/* When a probe of another node was last heard on a VLAN: nanoseconds. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct heard_key);
	__type(value, __u64);
} heard SEC(".maps");

#include "duplicate-address.h"

/* Source MAC, VLAN and slot of the receiver: what arrived. Only while ARRIVALS_COUNTED. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct arrival_key);
	__type(value, struct arrival);
} arrivals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAXIMUM_LIMITS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct forwarding_key);
	__type(value, struct receiver_limit);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAXIMUM_LIMITS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct forwarding_key);
	__type(value, struct limit_state);
} limit_states SEC(".maps");

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

/* Kernel structures, as far as they are read; relocated against the running kernel's BTF. */
struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));
struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));
struct network_reference {
	struct net *net;
} __attribute__((preserve_access_index));
typedef struct network_reference possible_net_t;
struct net_device {
	__u32 ifindex;
	possible_net_t nd_net;
} __attribute__((preserve_access_index));
struct netdev_queue {
	struct net_device *dev;
} __attribute__((preserve_access_index));
struct Qdisc {
	__u32 handle;
} __attribute__((preserve_access_index));
struct sk_buff {
	struct sk_buff *next;
	__u32 priority;
	char cb[48];
} __attribute__((preserve_access_index));

/* The control block of a queued frame (qdisc_skb_cb): its length with the headers of every segment, and our own. */
struct left_in_frame {
	__u32 length;
	__u32 unused;
	__u32 queued; /* __sk_buff cb[0]: microseconds, when from_endpoint gave it to the uplink */
};

/* A function of its own for the verifier, which would otherwise follow it anew for every frame of a bulk. */
__attribute__((noinline)) int observe(__u32 slot, __u32 length, __u32 wait)
{
	struct endpoint *endpoint = bpf_map_lookup_elem(&endpoints, &slot);
	struct counters *count = counters_of(slot);

	if (endpoint && count)
		judge_window(count, endpoint->floor, length, wait);
	return 0;
}

static __always_inline void count_delivered(struct sk_buff *skb)
{
	__u32 slot = skb->priority & 0xffff;
	struct endpoint *endpoint;
	struct traffic *count;
	struct left_in_frame left;

	if (skb->priority >> 16 != CLASS_MAJOR)
		return;
	endpoint = bpf_map_lookup_elem(&endpoints, &slot);
	count = traffic_of(slot);
	if (!endpoint || !count ||
	    bpf_probe_read_kernel(&left, sizeof(left), (void *)skb + bpf_core_field_offset(skb->cb)))
		return;
	count->delivered_bytes += left.length;
	if (endpoint->floor)
		observe(slot, left.length, (__u32)(bpf_ktime_get_ns() >> 10) - left.queued);
}

/*
 * When frames leave the shaper for the driver: what was really delivered. This tracepoint, and not one of the device,
 * because devices without a queue, such as the veth of a container, do not come by here and pay nothing.
 */
SEC("tp_btf/qdisc_dequeue")
int BPF_PROG(dequeued, struct Qdisc *qdisc, struct netdev_queue *queue, int packets, struct sk_buff *skb)
{
	struct configuration *config;
	__u32 zero = 0;

	if (!skb || qdisc->handle != CLASS_MAJOR << 16)
		return 0;
	config = bpf_map_lookup_elem(&configuration, &zero);
	if (!config || !config->shaped || queue->dev->ifindex != config->uplink ||
	    queue->dev->nd_net.net->ns.inum != config->network_namespace)
		return 0;
	for (int i = 0; i < BULK && skb; i++, skb = skb->next)
		count_delivered(skb);
	return 0;
}

/* More processors than any machine has that runs this. */
#define MOST_PROCESSORS 1024

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

/* A file of all counters in use: pinned in bpffs, each read returns records of slot, padding and struct counters. */
SEC("iter/bpf_map_elem")
int counters_file(struct bpf_iter__bpf_map_elem *context)
{
	struct counters *value = context->value, sum;
	__u32 *key = context->key;
	__u64 slot;

	if (!key || !value || !value->in_use)
		return 0;
	slot = *key;
	sum = *value;
	add_traffic(&sum, slot);
	bpf_seq_write(context->meta->seq, &slot, sizeof(slot));
	bpf_seq_write(context->meta->seq, &sum, sizeof(sum));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
