/*
 * A drive that is as fast as it was told, and no faster, whoever uses it: limits of cgroups follow the process that asks,
 * a real drive's limit does not. It is one file of a FUSE filesystem; the lab makes a loop device of it.
 *
 *   paced-drive BYTES MOUNTPOINT IOPS BYTES_PER_SECOND
 *
 * Requests are served in the order in which they come, each taking 1/IOPS or length/BYTES_PER_SECOND, whichever is
 * longer; a flush takes 1/IOPS. What was written is in memory of this process, so that no disk of the machine makes it
 * slower: it outlives nodes, not the machine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DRIVE_INODE 2
#define LARGEST (1024 * 1024)
#define PAGE 4096
/* Nanoseconds that it may run ahead: sleeping costs more than one request takes. */
#define AHEAD 1000000

static int fuse_fd, file_fd;
static uint64_t drive_size, ns_per_operation, bytes_per_second;

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Waits until a request of this length would be done on the drive. */
static void pace(uint64_t length)
{
	static uint64_t free_at;
	uint64_t now = now_ns();
	uint64_t cost = length * 1000000000ull / bytes_per_second;
	if (cost < ns_per_operation)
		cost = ns_per_operation;
	free_at = (free_at > now ? free_at : now) + cost;
	if (free_at > now + AHEAD) {
		struct timespec until = { free_at / 1000000000ull, free_at % 1000000000ull };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	}
}

static void reply(uint64_t unique, int error, const void *data, size_t length)
{
	struct fuse_out_header header = { .len = sizeof(header) + length, .error = -error, .unique = unique };
	struct iovec parts[2] = { { &header, sizeof(header) }, { (void *)data, length } };
	/* a request that was given up meanwhile has no place for its answer */
	if (writev(fuse_fd, parts, length ? 2 : 1) < 0 && errno != ENOENT) {
		perror("paced-drive: answer");
		exit(1);
	}
}

static struct fuse_attr attributes(uint64_t inode)
{
	struct fuse_attr attr = { .ino = inode, .nlink = 1, .blksize = PAGE };
	attr.mode = inode == DRIVE_INODE ? S_IFREG | 0600 : S_IFDIR | 0700;
	if (inode == DRIVE_INODE) {
		attr.size = drive_size;
		attr.blocks = drive_size / 512;
	}
	return attr;
}

static void init(const struct fuse_in_header *header, const struct fuse_init_in *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION < in->minor ? FUSE_KERNEL_MINOR_VERSION : in->minor,
		.max_readahead = in->max_readahead,
		.flags = in->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ASYNC_DIO),
		.max_background = 256,
		.congestion_threshold = 256,
		.max_write = LARGEST,
		.time_gran = 1,
		.max_pages = LARGEST / PAGE,
	};
	reply(header->unique, 0, &out, sizeof(out));
}

static void lookup(const struct fuse_in_header *header, const char *name)
{
	struct fuse_entry_out out = {
		.nodeid = DRIVE_INODE, .entry_valid = 3600, .attr_valid = 3600, .attr = attributes(DRIVE_INODE)
	};
	if (strcmp(name, "drive"))
		reply(header->unique, ENOENT, NULL, 0);
	else
		reply(header->unique, 0, &out, sizeof(out));
}

static void read_drive(const struct fuse_in_header *header, const struct fuse_read_in *in)
{
	static char data[LARGEST];
	ssize_t length = in->size > LARGEST ? -1 : pread(file_fd, data, in->size, in->offset);
	pace(in->size);
	reply(header->unique, length < 0 ? EIO : 0, data, length < 0 ? 0 : length);
}

static void write_drive(const struct fuse_in_header *header, const struct fuse_write_in *in)
{
	struct fuse_write_out out = { .size = in->size };
	ssize_t length = pwrite(file_fd, in + 1, in->size, in->offset);
	pace(in->size);
	reply(header->unique, length == in->size ? 0 : EIO, &out, length == in->size ? sizeof(out) : 0);
}

static void answer(const struct fuse_in_header *header, const void *argument)
{
	struct fuse_attr_out attr = { .attr_valid = 3600, .attr = attributes(header->nodeid) };
	struct fuse_open_out open_out = { .fh = 1, .open_flags = FOPEN_KEEP_CACHE };
	struct fuse_statfs_out statfs_out = { .st = { .bsize = PAGE, .frsize = PAGE, .namelen = 255 } };
	const struct fuse_fallocate_in *range = argument;

	switch (header->opcode) {
	case FUSE_INIT:
		return init(header, argument);
	case FUSE_LOOKUP:
		return lookup(header, argument);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return; /* these have no answer */
	case FUSE_GETATTR:
		return reply(header->unique, 0, &attr, sizeof(attr));
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		return reply(header->unique, 0, &open_out, sizeof(open_out));
	case FUSE_READ:
		return read_drive(header, argument);
	case FUSE_WRITE:
		return write_drive(header, argument);
	case FUSE_FSYNC:
		pace(0);
		return reply(header->unique, 0, NULL, 0);
	case FUSE_FALLOCATE:
		return reply(header->unique,
			     fallocate(file_fd, range->mode, range->offset, range->length) ? errno : 0, NULL, 0);
	case FUSE_STATFS:
		return reply(header->unique, 0, &statfs_out, sizeof(statfs_out));
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_READDIR:
		return reply(header->unique, 0, NULL, 0);
	default:
		return reply(header->unique, ENOSYS, NULL, 0);
	}
}

static void open_drive(const char *bytes, const char *mountpoint)
{
	char options[128];
	drive_size = strtoull(bytes, NULL, 10);
	file_fd = memfd_create("paced-drive", MFD_CLOEXEC);
	fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (file_fd < 0 || fuse_fd < 0 || ftruncate(file_fd, drive_size)) {
		perror("paced-drive: open");
		exit(1);
	}
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse_fd);
	if (mount("paced-drive", mountpoint, "fuse.paced-drive", MS_NOSUID | MS_NODEV, options)) {
		perror("paced-drive: mount");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static union {
		struct fuse_in_header header;
		char bytes[LARGEST + PAGE];
	} request;
	if (argc != 5) {
		fprintf(stderr, "usage: paced-drive BYTES MOUNTPOINT IOPS BYTES_PER_SECOND\n");
		return 2;
	}
	ns_per_operation = 1000000000ull / strtoull(argv[3], NULL, 10);
	bytes_per_second = strtoull(argv[4], NULL, 10);
	prctl(PR_SET_TIMERSLACK, 1);
	setpriority(PRIO_PROCESS, 0, -15); /* hardware does not wait for a processor */
	open_drive(argv[1], argv[2]);
	for (;;) {
		ssize_t length = read(fuse_fd, &request, sizeof(request));
		if (length < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		if (length < (ssize_t)sizeof(request.header))
			return length < 0 && errno == ENODEV ? 0 : 1; /* ENODEV: it was unmounted */
		answer(&request.header, request.bytes + sizeof(request.header));
	}
}
