// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/* A file of all counters in use: pinned in bpffs, each read returns records of slot, padding and struct counters. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "map-iterator.h"
#include "soft-vf.h"

SEC("iter/bpf_map_elem")
int counters_file(struct bpf_iter__bpf_map_elem *context)
{
	struct counters *value = context->value;
	__u32 *key = context->key;
	__u64 slot;

	if (!key || !value || !value->in_use)
		return 0;
	slot = *key;
	bpf_seq_write(context->meta->seq, &slot, sizeof(slot));
	bpf_seq_write(context->meta->seq, value, sizeof(*value));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
