/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What leaves the shaper for the driver: counted as delivered, and judged against the floor. */
#ifndef CARBONADO_DELIVERED_H
#define CARBONADO_DELIVERED_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "attainment.h"
#include "counting.h"
#include "soft-vf-maps.h"

/* Most frames that a driver is handed at once. */
#define BULK 64

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

#endif
