/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Shared by the programs of the soft-vf engine. src/network/soft-vf/map-layout.ts mirrors these structures. */
#ifndef CARBONADO_SOFT_VF_H
#define CARBONADO_SOFT_VF_H

#include <linux/bpf.h>
#include <linux/types.h>

/* An endpoint has a slot; everything else follows from it: host interface index, HTB class minor, array index. */
#define MAXIMUM_SLOTS 4096
#define INTERFACE_INDEX_BASE 65536
#define CLASS_MAJOR 1

/* Of a second. */
#define NANOSECONDS 1000000000ull

/* What this endpoint receives is held to its cap. */
#define ENDPOINT_CAPPED 1u

/*
 * The node's own leg in a VLAN: it sends as a router does, also from addresses that are not its own, and its far end is in
 * the node's namespace, where bpf_redirect_peer leads to nowhere.
 */
#define ENDPOINT_HOST_LEG 2u

enum drop_reason {
	DROP_SPOOFED_MAC,
	DROP_SPOOFED_IP,
	DROP_SPOOFED_ARP,
	DROP_SPOOFED_ND,
	DROP_VLAN_TAG,
	DROP_PROTOCOL,
	DROP_MALFORMED,
	DROP_CAP,
	DROP_RECEIVER_LIMIT,
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
} __attribute__((aligned(8)));

/*
 * The map `places` answers what `forwarding` would for almost every frame, in one array access instead of a hash: a key,
 * read as a number, has its place by twelve bits of the MAC and those of the VLAN. The place holds the key with the slot
 * instead of those bits of the MAC, which follow from place and VLAN; 0 where no key has this place, SHARED_PLACE where
 * several have it.
 */
#define PLACES 4096
#define PLACE_SHIFT 36
#define PLACE_MASK ((__u64)(PLACES - 1) << PLACE_SHIFT)
#define SHARED_PLACE (~0ull)

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
 * What one processor has counted for one endpoint, so that counting takes neither a locked instruction nor a cache line
 * from another processor: programs on the way of frames cannot be interrupted by one another. Cleared on attach.
 */
struct traffic {
	__u64 sent_bytes;
	__u64 sent_packets;
	__u64 received_bytes;
	__u64 received_packets;
	__u64 delivered_bytes; /* left by the uplink, after shaping */
	__u64 unused[3];
};

/*
 * What the programs count for one endpoint. The agent clears it on attach and only reads it afterwards, from a file that
 * adds the `traffic` of all processors to the fields of the same name here.
 */
struct counters {
	__u64 in_use;
	__u64 sent_bytes;
	__u64 sent_packets;
	__u64 drops[DROP_REASONS];
	__u64 unused_1[4];
	__u64 received_bytes; /* at 128 */
	__u64 received_packets;
	__u64 unused_2[14];
	__u64 delivered_bytes; /* at 256 */
	__u64 windows_with_demand;
	__u64 windows_attained;
	struct window window;
	__u64 unused_3[8];
};

/* Slots that are told at once in the file of counters: their records have to fit into the 32 KiB that the kernel has for it. */
#define SLOTS_OF_GROUP 64

/* What comes before the counters of a slot in that file. */
struct counters_head {
	__u32 slot;
	__u32 flags;
};

/* Frames to the endpoint, by the MAC and the VLAN of its entry, find it. */
#define RECEIVER_FOUND 1u

/* Token bucket that holds an endpoint to its cap whatever it does to the shaper inside its own namespace. */
struct bucket {
	__u64 last; /* nanoseconds */
	__u64 tokens; /* bytes */
};

/*
 * How far an endpoint is below its receive cap. While there are tokens, frames go straight in and the queue on its host
 * side, which keeps the cap, is empty; `queued` from when there were none until half of them are back.
 */
struct receive_bucket {
	__u64 last;   /* nanoseconds */
	__s64 tokens; /* bytes */
	__u64 queued;
};

struct configuration {
	__u32 uplink;  /* interface index */
	__u32 network_namespace; /* inode number */
	__u32 shaped; /* whether the uplink has the tree of classes: only while a floor is promised */
	__u32 flags;
};

/* Flags of the configuration: what of the receive guarantee is switched on. Frames pay for nothing else of it. */
#define ARRIVALS_COUNTED 1u
#define LIMITS_IN_FORCE 2u

/*
 * What arrived from one source for one endpoint of this node. Slot 0 stands for what is for no endpoint, or for many:
 * the node's own traffic and broadcast. A source on this node counts like one on the wire.
 */
struct arrival_key {
	__u8 source[6];
	__u16 vlan;
	__u32 slot;
};

struct arrival {
	__u64 bytes;
	__u64 packets;
};

/* Bytes that a frame costs on a wire beside those that are counted: preamble 8, checksum 4, gap 12, VLAN tag 4. */
#define WIRE_OVERHEAD 28

/*
 * The limiter: a veth pair that frames for a limited receiver go through. Its near end has a class for each limit, at
 * whose far end from_limiter takes them on. They wait instead of being lost, because a TCP whose round trip takes 0.2 ms
 * does not get over losses (docs/decisions/0071).
 */
#define LIMITER_INDEX (INTERFACE_INDEX_BASE + MAXIMUM_SLOTS)

/* How much this node may send to one receiver (MAC and VLAN), written by the agent. A lease: it ends by itself. */
struct receiver_limit {
	__u64 rate;   /* bytes per second; for how much may wait */
	__u64 expiry; /* nanoseconds of the monotonic clock */
	__u32 minor;  /* class on the limiter */
	__u32 unused;
};

#define LIMIT_SHARES 16

struct limit_share {
	__u64 waiting; /* bytes */
	__u64 last;    /* when a frame last went on, nanoseconds */
};

/*
 * What waits for a receiver. Each of the senders of this node that are active may have an equal part of the queue, so
 * that a flood does not push out a polite neighbour that sends to the same receiver. Senders whose slots are equal modulo
 * LIMIT_SHARES count as one.
 */
struct limit_state {
	struct bpf_spin_lock lock;
	__u32 active;  /* shares in use in this epoch and in the one before, as bits */
	__u32 active_before;
	__u32 unused;
	__u64 epoch; /* its beginning, nanoseconds */
	__u64 passed_bytes;
	__u64 dropped_bytes;
	struct limit_share shares[LIMIT_SHARES];
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
