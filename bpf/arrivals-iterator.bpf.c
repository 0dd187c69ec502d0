// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/* A file of all arrivals: pinned in bpffs, each read returns records of struct arrival_key, padding and struct arrival. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "map-iterator.h"
#include "soft-vf.h"

SEC("iter/bpf_map_elem")
int arrivals_file(struct bpf_iter__bpf_map_elem *context)
{
	struct arrival_key *key = context->key;
	struct arrival *value = context->value;
	__u32 padding = 0;

	if (!key || !value)
		return 0;
	bpf_seq_write(context->meta->seq, key, sizeof(*key));
	bpf_seq_write(context->meta->seq, &padding, sizeof(padding));
	bpf_seq_write(context->meta->seq, value, sizeof(*value));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
