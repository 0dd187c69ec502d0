/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* What an iterator over the elements of a map is given (iter/bpf_map_elem), relocated against the running kernel's BTF. */
#ifndef CARBONADO_MAP_ITERATOR_H
#define CARBONADO_MAP_ITERATOR_H

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

#endif
