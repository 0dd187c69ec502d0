/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
 *
 * VLAN access port of the lab's top-of-rack switch. The kernel's bridge would do this with VLAN filtering, which not
 * every kernel has. Untagged outside, tagged inside the switch. The VLAN is the filter's classid (tc puts it into
 * tc_classid before it runs the program), so one object serves every port without a map.
 *
 * And what makes congestion real: a frame in a switch has left its sender. Across veths it would stay charged to the
 * sender's socket, which then waits instead of losing frames when a queue of the switch is full.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_ID_MASK 0x0fff

#define LET_GO 0x6c6f7374

/* Before a port's queue: the frame goes on as a copy, which belongs to no socket. */
SEC("cbl_let_go")
int cbl_port_let_go(struct __sk_buff *skb)
{
	if (skb->mark == LET_GO) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	skb->mark = LET_GO;
	bpf_clone_redirect(skb, skb->ifindex, 0);
	return TC_ACT_SHOT;
}

/* From the host into the switch: a frame that carries a tag has no business on an access port. */
SEC("cbl_push")
int cbl_access_push(struct __sk_buff *skb)
{
	if (skb->vlan_present)
		return TC_ACT_SHOT;
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), skb->tc_classid & VLAN_ID_MASK))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC; /* go on to the port's shaping */
}

/* From the switch to the host: frames of the port's VLAN only, without the tag. */
SEC("cbl_pop")
int cbl_access_pop(struct __sk_buff *skb)
{
	if (!skb->vlan_present || (skb->vlan_tci & VLAN_ID_MASK) != (skb->tc_classid & VLAN_ID_MASK))
		return TC_ACT_SHOT;
	if (bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
