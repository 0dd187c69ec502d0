/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* The maps of the soft-vf programs; their records are in soft-vf.h. */
#ifndef CARBONADO_SOFT_VF_MAPS_H
#define CARBONADO_SOFT_VF_MAPS_H

#include <bpf/bpf_helpers.h>
#include "receiver-limit.h"
#include "soft-vf.h"

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

/* Nothing is in it: the file of counters has its groups of slots by its keys. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAXIMUM_SLOTS / SLOTS_OF_GROUP);
	__type(key, __u32);
	__type(value, __u32);
} slot_groups SEC(".maps");

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

#endif
