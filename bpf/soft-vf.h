/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Shared by the programs of the soft-vf engine. src/network/soft-vf/map-layout.ts mirrors these structures. */
#ifndef CARBONADO_SOFT_VF_H
#define CARBONADO_SOFT_VF_H

#include <linux/types.h>

/* An endpoint has a slot; everything else follows from it: host interface index, HTB class minor, array index. */
#define MAXIMUM_SLOTS 4096
#define INTERFACE_INDEX_BASE 65536
#define CLASS_MAJOR 1

/* Delivery to this endpoint goes through its host-side queue, where its receive cap is kept. */
#define ENDPOINT_CAPPED 1u

enum drop_reason {
	DROP_SPOOFED_MAC,
	DROP_SPOOFED_IP,
	DROP_SPOOFED_ARP,
	DROP_SPOOFED_ND,
	DROP_VLAN_TAG,
	DROP_PROTOCOL,
	DROP_MALFORMED,
	DROP_CAP,
	DROP_REASONS,
};

/* Configuration of one endpoint, written by the agent only. All zero: the slot is free. */
struct endpoint {
	__u8 id[16];
	__u8 mac[6];
	__u16 vlan;
	__u32 flags;
	__be32 ipv4;
	__u8 ipv6[16];
	__u8 link_local[16];
	__u64 floor; /* bytes per second */
	__u64 cap;   /* bytes per second, 0: none */
};

struct forwarding_key {
	__u8 mac[6];
	__u16 vlan;
};

/*
 * A one-second window of demand, judged in tenths. Written only while the uplink's queueing lock is held.
 * A tenth has demand when its queue never drained (the shortest wait of it stayed above a target: CoDel's
 * criterion for a standing queue, RFC 8289 section 3) or when the floor was delivered in it.
 */
struct window {
	__u64 start; /* nanoseconds, 0: none open */
	__u64 bytes;
	__u64 tenth_bytes;
	__u32 tenth; /* index of the open one */
	__u32 tenth_packets;
	__u32 shortest_wait; /* microseconds */
	__u32 unused;
};

/*
 * What the programs count for one endpoint. The agent clears it on attach and only reads it afterwards. Sending,
 * receiving and delivering happen on different processors: each has cache lines of its own, or two containers that talk
 * to each other would take them from one another with every frame (3 % of the time of a request and its reply).
 */
struct counters {
	__u64 in_use;
	__u64 sent_bytes;
	__u64 sent_packets;
	__u64 drops[DROP_REASONS];
	__u64 unused_1[5];
	__u64 received_bytes; /* at 128 */
	__u64 received_packets;
	__u64 unused_2[14];
	__u64 delivered_bytes; /* at 256: left by the uplink, after shaping */
	__u64 windows_with_demand;
	__u64 windows_attained;
	struct window window;
	__u64 unused_3[8];
};

/* Token bucket that holds an endpoint to its cap whatever it does to the shaper inside its own namespace. */
struct bucket {
	__u64 last; /* nanoseconds */
	__u64 tokens; /* bytes */
};

struct configuration {
	__u32 uplink;  /* interface index */
	__u32 network_namespace; /* inode number */
	__u32 shaped; /* whether the uplink has the tree of classes: only while a floor is promised */
	__u32 unused;
};

/*
 * A broadcast frame by which agents find out which VLANs the switches carry between them: Ethernet header with the
 * local experimental type (IEEE Std 802), then this. `node` is the sender, as a hash of its name.
 */
#define PROBE_ETHERTYPE 0x88b5
#define PROBE_MAGIC 0x43424e44u

struct probe {
	__be32 magic;
	__be32 node;
} __attribute__((packed));

struct heard_key {
	__u32 node;
	__u32 vlan;
};

#endif
