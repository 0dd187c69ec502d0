/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Judges a frame that an endpoint sends: -1 may pass, otherwise a drop_reason. */
#ifndef CARBONADO_ANTI_SPOOF_H
#define CARBONADO_ANTI_SPOOF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "soft-vf.h"

#define MAY_PASS (-1)
#define EXTENSION_HEADERS 6
#define ND_OPTIONS 4

#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_ROUTER_ADVERTISEMENT 134
#define ICMPV6_NEIGHBOUR_SOLICITATION 135
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136
#define ICMPV6_REDIRECT 137
#define ND_SOURCE_LINK_ADDRESS 1
#define ND_TARGET_LINK_ADDRESS 2

struct arp_ethernet {
	__be16 hardware, protocol;
	__u8 hardware_length, protocol_length;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
} __attribute__((packed));

struct nd_message {
	__u8 type, code;
	__be16 checksum;
	__be32 flags;
	__u8 target[16];
} __attribute__((packed));

static __always_inline int same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u16 *)a == *(const __u16 *)b && *(const __u16 *)(a + 2) == *(const __u16 *)(b + 2) &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

static __always_inline int same_ipv6(const __u8 *a, const __u8 *b)
{
	const __u32 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

static __always_inline int zero_ipv6(const __u8 *a)
{
	const __u32 *x = (const void *)a;

	return !(x[0] | x[1] | x[2] | x[3]);
}

static __always_inline int owns_ipv6(const struct endpoint *endpoint, const __u8 *address)
{
	return same_ipv6(address, endpoint->link_local) ||
	       (!zero_ipv6(endpoint->ipv6) && same_ipv6(address, endpoint->ipv6));
}

static __always_inline int judge_ipv4(const struct iphdr *ip, void *end, const struct endpoint *endpoint)
{
	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return DROP_MALFORMED;
	if (endpoint->ipv4 && ip->saddr == endpoint->ipv4)
		return MAY_PASS;
	return endpoint->flags & ENDPOINT_HOST_LEG ? MAY_PASS : DROP_SPOOFED_IP;
}

/* RFC 826; RFC 5227: a probe asks with sender address 0. */
static __always_inline int judge_arp(struct __sk_buff *skb, const struct endpoint *endpoint)
{
	struct arp_ethernet arp;
	__be32 sender;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) || arp.hardware != bpf_htons(1) ||
	    arp.protocol != bpf_htons(ETH_P_IP) || arp.hardware_length != 6 || arp.protocol_length != 4)
		return DROP_MALFORMED;
	__builtin_memcpy(&sender, arp.sender_ip, 4);
	if (!same_mac(arp.sender_mac, endpoint->mac))
		return DROP_SPOOFED_ARP;
	if (sender == endpoint->ipv4 && sender)
		return MAY_PASS;
	return !sender && arp.operation == bpf_htons(1) ? MAY_PASS : DROP_SPOOFED_ARP;
}

/* RFC 4861 sections 4.3, 4.4 and 4.6: link-layer address options must carry the endpoint's own MAC. */
static __always_inline int judge_nd_options(struct __sk_buff *skb, const struct endpoint *endpoint, __u32 offset)
{
	for (int i = 0; i < ND_OPTIONS; i++) {
		__u8 option[8] __attribute__((aligned(4)));

		if (offset >= skb->len)
			return MAY_PASS;
		if (bpf_skb_load_bytes(skb, offset, option, sizeof(option)) || !option[1])
			return DROP_MALFORMED;
		if ((option[0] == ND_SOURCE_LINK_ADDRESS || option[0] == ND_TARGET_LINK_ADDRESS) &&
		    !same_mac(option + 2, endpoint->mac))
			return DROP_SPOOFED_ND;
		offset += option[1] * 8;
	}
	return offset >= skb->len ? MAY_PASS : DROP_MALFORMED;
}

static __always_inline int judge_nd(struct __sk_buff *skb, const struct endpoint *endpoint, __u32 offset,
				    int unspecified, int is_fragment)
{
	struct nd_message message;

	if (bpf_skb_load_bytes(skb, offset, &message, 1))
		return DROP_MALFORMED;
	if (message.type == ICMPV6_ROUTER_ADVERTISEMENT || message.type == ICMPV6_REDIRECT)
		return DROP_SPOOFED_ND;
	/* RFC 6980: what cannot be judged as a whole must not be believed by anybody. */
	if (is_fragment && message.type >= ICMPV6_ROUTER_SOLICITATION && message.type <= ICMPV6_REDIRECT)
		return DROP_SPOOFED_ND;
	if (message.type == ICMPV6_ROUTER_SOLICITATION)
		return judge_nd_options(skb, endpoint, offset + 8);
	if (message.type != ICMPV6_NEIGHBOUR_SOLICITATION && message.type != ICMPV6_NEIGHBOUR_ADVERTISEMENT)
		return MAY_PASS;
	if (bpf_skb_load_bytes(skb, offset, &message, sizeof(message)))
		return DROP_MALFORMED;
	/* An advertisement speaks for its target, and so does duplicate address detection (RFC 4862 5.4.2). */
	if ((message.type == ICMPV6_NEIGHBOUR_ADVERTISEMENT || unspecified) && !owns_ipv6(endpoint, message.target))
		return DROP_SPOOFED_ND;
	return judge_nd_options(skb, endpoint, offset + sizeof(message));
}

static __always_inline int judge_ipv6(struct __sk_buff *skb, const struct endpoint *endpoint)
{
	__u32 offset = ETH_HLEN + sizeof(struct ipv6hdr);
	struct ipv6hdr ip;
	int unspecified, is_fragment = 0;
	__u8 next, header[8];

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 6)
		return DROP_MALFORMED;
	unspecified = zero_ipv6((void *)&ip.saddr);
	if (!unspecified && !owns_ipv6(endpoint, (void *)&ip.saddr))
		return DROP_SPOOFED_IP;
	next = ip.nexthdr;
	/* Without a walk, an extension header would hide a forged router advertisement (RFC 7113). */
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		if (next == IPPROTO_ICMPV6)
			return judge_nd(skb, endpoint, offset, unspecified, is_fragment);
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			return unspecified ? DROP_SPOOFED_IP : MAY_PASS;
		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			return DROP_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			is_fragment = 1;
			if (header[2] | (header[3] & 0xf8)) /* not the first: the headers were in another */
				return unspecified ? DROP_SPOOFED_IP : MAY_PASS;
		}
		offset += next == IPPROTO_FRAGMENT ? 8 : (header[1] + 1) * 8;
		next = header[0];
	}
	return DROP_MALFORMED;
}

/* The headers up to those of TCP or UDP must be in the linear part (see from_endpoint). */
static __always_inline int judge(struct __sk_buff *skb, const struct endpoint *endpoint, const struct ethhdr *ethernet,
				 void *end)
{
	if (!same_mac(ethernet->h_source, endpoint->mac))
		return DROP_SPOOFED_MAC;
	if (skb->vlan_present)
		return DROP_VLAN_TAG;
	switch (ethernet->h_proto) {
	case bpf_htons(ETH_P_IP):
		return judge_ipv4((void *)(ethernet + 1), end, endpoint);
	case bpf_htons(ETH_P_IPV6):
		return judge_ipv6(skb, endpoint);
	case bpf_htons(ETH_P_ARP):
		return judge_arp(skb, endpoint);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return DROP_VLAN_TAG;
	default:
		return DROP_PROTOCOL;
	}
}

#endif
