//: begin
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/stat.h>

#define PAGE 4096L
#define SECTOR 512L

static const char *folder;	/* in which the files are made */
static int attempt;		/* which has files of its own */
static int verdicts;		/* the pipe to the parent, who exits with what it reads */

static _Noreturn void end(int code)
{
	char byte = (char)code;

	if (write(verdicts, &byte, 1) != 1)
		_exit(2);
	_exit(code);
}

static const char *path_of(const char *name)
{
	static __thread char path[4352];

	snprintf(path, sizeof(path), "%s/%s.%d", folder, name, attempt);
	return path;
}

/* The kernel does what it must not. */
static _Noreturn __attribute__((format(printf, 1, 2))) void deviates(const char *format, ...)
{
	va_list words;

	va_start(words, format);
	fputs("FAIL: ", stderr);
	vfprintf(stderr, format, words);
	fputc('\n', stderr);
	va_end(words);
	end(1);
}

static _Noreturn void cannot(const char *what)
{
	fprintf(stderr, "cannot run: %s: %s\n", what, strerror(errno));
	end(2);
}

#define SOME LONG_MAX /* any count */

static void expect(long seen, long expected, const char *what)
{
	if (seen == expected || (expected == SOME && seen >= 0))
		return;
	deviates("%s: expected %s, seen %s", what,
		 expected < 0 ? strerror((int)-expected) : expected ? "another count" : "success",
		 seen < 0 ? strerror((int)-seen) : seen ? "another count" : "success");
}

//: need
/* Ends the program if `what` is missing: then nothing can be said about the kernel. */
static void need(long said, const char *what)
{
	if (said >= 0)
		return;
	fprintf(stderr, "cannot run: needs %s: %s\n", what, strerror((int)-said));
	rmdir(folder);
	end(2);
}

//: answer
/* What a system call says: its value, or -errno. */
static long answer(long value)
{
	return value < 0 ? -errno : value;
}

//: new_file
/* A file with a page of each letter, '.' is a hole; whether it is a DAX file. */
static int new_file(int *fd, const char *name, const char *fill)
{
	const char *path = path_of(name);
	char page[PAGE];
	struct statx stx;

	*fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (*fd < 0 || ftruncate(*fd, (off_t)strlen(fill) * PAGE))
		cannot(path);
	for (long i = 0; fill[i]; i++) {
		memset(page, fill[i], PAGE);
		if (fill[i] != '.' && pwrite(*fd, page, PAGE, i * PAGE) != PAGE)
			cannot(path);
	}
	if (fsync(*fd) || statx(*fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx))
		cannot(path);
	return !!(stx.stx_attributes & STATX_ATTR_DAX);
}

//: create new_file
static long create(int *fd, const char *name, const char *fill)
{
	if (!new_file(fd, name, fill)) {
		fprintf(stderr, "cannot run: %s is not a DAX file: how to mount stands at the top\n", name);
		end(2);
	}
	return 0;
}

//: create_filled create
/* One that is full of a letter; its blocks are allocated in one piece, as huge pages want them. */
static long create_filled(int *fd, const char *name, size_t length, char byte)
{
	char *bytes = malloc(length);

	create(fd, name, "");
	memset(bytes, byte, length);
	if (fallocate(*fd, 0, 0, (off_t)length) || pwrite(*fd, bytes, length, 0) != (ssize_t)length || fsync(*fd))
		cannot(name);
	free(bytes);
	return 0;
}

//: choose_dax
/* Whether what is made in the folder from now on is to be DAX files; on dax=inode that counts. */
static long choose_dax(int wanted)
{
	int flags, fd = open(folder, O_RDONLY | O_DIRECTORY);

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -errno;
	flags = wanted ? flags | FS_DAX_FL : flags & ~FS_DAX_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
		return -errno;
	return close(fd);
}

//: reopen
static long reopen(int *fd, const char *name)
{
	*fd = open(path_of(name), O_RDWR);
	return *fd < 0 ? -errno : 0;
}

//: flip_dax answer
/* Takes DAX from a file and gives it back: on dax=inode its inode leaves memory with its last user. */
static long flip_dax(int file)
{
	int flags, without;

	if (ioctl(file, FS_IOC_GETFLAGS, &flags))
		return -errno;
	without = flags & ~FS_DAX_FL;
	flags |= FS_DAX_FL;
	if (ioctl(file, FS_IOC_SETFLAGS, &without))
		return -errno;
	return answer(ioctl(file, FS_IOC_SETFLAGS, &flags));
}

//: create_without_dax new_file choose_dax
static long create_without_dax(int *fd, const char *name, const char *fill)
{
	if (choose_dax(0))
		cannot(folder);
	if (new_file(fd, name, fill)) {
		fprintf(stderr, "cannot run: %s is a DAX file: mount with -o dax=inode\n", name);
		end(2);
	}
	if (choose_dax(1))
		cannot(folder);
	return 0;
}

//: in_order
/* Two new files that are as they were made: the first is to be the one with the lower inode number. */
static void in_order(int *first, int *second)
{
	struct stat one, other;
	int fd = *first;

	if (fstat(*first, &one) || fstat(*second, &other))
		cannot("fstat");
	if (one.st_ino < other.st_ino)
		return;
	*first = *second;
	*second = fd;
}

//: find_mount
#include <mntent.h>

static struct {
	char device[PATH_MAX], point[PATH_MAX], type[64];
} whole;

/* Finds the mount that the folder is below, at once. */
static long find_mount(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	char point[PATH_MAX + 4], path[PATH_MAX];
	struct mntent *mount;

	snprintf(point, sizeof(point), "%s/..", folder);
	if (!mounts || !realpath(point, path))
		return -errno;
	/* The last of those at one place is on top. */
	while ((mount = getmntent(mounts)))
		if (!strcmp(mount->mnt_dir, path)) {
			snprintf(whole.device, sizeof(whole.device), "%s", mount->mnt_fsname);
			snprintf(whole.point, sizeof(whole.point), "%s", mount->mnt_dir);
			snprintf(whole.type, sizeof(whole.type), "%s", mount->mnt_type);
		}
	endmntent(mounts);
	return *whole.device ? 0 : -EINVAL;
}

//: find_bad_blocks find_mount
/* Where the kernel lists the blocks of the device that cannot be read; it takes more: a sector, and how many. */
static const char *bad_blocks(void)
{
	static char path[PATH_MAX + 64];
	const char *name = strrchr(whole.device, '/');

	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", name ? name + 1 : whole.device);
	return path;
}

static long find_bad_blocks(void)
{
	int fd = open(bad_blocks(), O_RDWR);
	char byte;

	/* Others are not this program's to mend. */
	if (fd < 0 || read(fd, &byte, 1))
		return fd < 0 ? -errno : -EBUSY;
	return close(fd);
}

//: spoil find_bad_blocks
#include <linux/fiemap.h>

/* Has the driver believe that sectors of a file cannot be read, until somebody writes all of the page. */
static long spoil(int fd, off_t at, size_t length)
{
	int list = open(bad_blocks(), O_WRONLY);
	struct {
		struct fiemap map;
		struct fiemap_extent extent;
	} found;
	char line[64];

	for (off_t from = at, to; from < at + (off_t)length; from = to) {
		to = (from / PAGE + 1) * PAGE;
		if (to > at + (off_t)length)
			to = at + (off_t)length;
		memset(&found, 0, sizeof(found));
		found.map.fm_start = (__u64)from;
		found.map.fm_length = (__u64)(to - from);
		found.map.fm_extent_count = 1;
		if (ioctl(fd, FS_IOC_FIEMAP, &found.map) || found.map.fm_mapped_extents != 1)
			cannot("FIEMAP");
		snprintf(line, sizeof(line), "%llu %ld",
			 (found.extent.fe_physical + (__u64)from - found.extent.fe_logical) / SECTOR, (long)(to - from) / SECTOR);
		if (write(list, line, strlen(line)) != (ssize_t)strlen(line))
			cannot(bad_blocks());
	}
	return close(list);
}

//: mend find_bad_blocks
/* Writes zeros to what was spoiled and not written since, whatever became of the test. */
static void mend(void)
{
	unsigned long long sector, count;
	FILE *list;
	int fd;

	if (find_mount())
		return;
	list = fopen(bad_blocks(), "r");
	fd = open(whole.device, O_WRONLY | O_DIRECT);
	while (list && fscanf(list, "%llu %llu", &sector, &count) == 2) {
		void *zeros = aligned_alloc(PAGE, count * SECTOR);

		memset(zeros, 0, count * SECTOR);
		if (pwrite(fd, zeros, count * SECTOR, (off_t)(sector * SECTOR)) != (ssize_t)(count * SECTOR))
			fprintf(stderr, "note: %s: block %llu stays bad\n", whole.device, sector);
		free(zeros);
	}
}

//: shut_down answer
/*
 * XFS_IOC_GOINGDOWN, which is EXT4_IOC_SHUTDOWN, too: nothing reaches the device any more, as in a crash. 2 says
 * not even what is in the log.
 */
static long shut_down(void)
{
	int how = 2, fd = open(folder, O_RDONLY | O_DIRECTORY);
	long said;

	if (fd < 0)
		return -errno;
	said = answer(ioctl(fd, _IOR('X', 125, int), &how));
	if (said == -ENOTTY || said == -EOPNOTSUPP)
		cannot("shutting down");
	close(fd);
	return said;
}

//: freeze answer
/* Nobody changes the file system until it thaws, which it does in the end, whatever becomes of the test. */
static long freeze(void)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY);
	long said = fd < 0 ? -errno : answer(ioctl(fd, FIFREEZE, 0));

	if (said == -EPERM || said == -EOPNOTSUPP || said == -ENOTTY)
		cannot("FIFREEZE");
	close(fd);
	return said;
}

//: thaw answer
static long thaw(void)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY);
	long said = fd < 0 ? -errno : answer(ioctl(fd, FITHAW, 0));

	close(fd);
	return said;
}

//: pages_cached answer
/* cachestat(2), which not every C library has: pages of a file that are in the page cache, or were. */
static long pages_cached(int fd)
{
	struct {
		__u64 at, length;
	} all = { 0, 0 };
	struct {
		__u64 cached, dirty, written_back, evicted, recently_evicted;
	} found;
	long said = answer(syscall(451, fd, &all, &found, 0));

	return said ? said : (long)(found.cached + found.evicted);
}

//: unlink_file answer
static long unlink_file(const char *name)
{
	return answer(unlink(path_of(name)));
}

//: new_probe new_file unlink_file
/*
 * A file to try things on: a page, a hole of two, and a page; whether it is a DAX file. It has no name and
 * stays open, and what is tried frees none of its blocks: what the file system gives to the files
 * that follow is as if nobody had tried anything.
 */
static int probes[8], probe_count;

static int new_probe(int *fd)
{
	int is_dax = new_file(fd, "probe", "p..p");

	probes[probe_count++] = *fd;
	if (unlink_file("probe"))
		cannot("unlink");
	return is_dax;
}

//: unmount answer find_mount new_probe
#include <sys/mount.h>

static long unmount(void)
{
	/* What was tried is over, and would keep the file system in use. */
	while (probe_count)
		close(probes[--probe_count]);
	return answer(umount(whole.point));
}

//: mount_again unmount
static long mount_again(const char *options)
{
	return answer(mount(whole.device, whole.point, whole.type, 0, options));
}

//: without_dax new_probe choose_dax need
/* A file to try things on that is no DAX file. */
static void without_dax(int *fd)
{
	need(choose_dax(0), "a DAX flag in each file");
	need(new_probe(fd) ? -EOPNOTSUPP : 0, "files without DAX (mount -o dax=inode)");
	need(choose_dax(1), "a DAX flag in each file");
}

//: open_truncated answer
static long open_truncated(const char *name)
{
	int fd = open(path_of(name), O_WRONLY | O_TRUNC);

	return fd < 0 ? -errno : answer(close(fd));
}

//: fill answer
static long fill(int fd, off_t at, size_t length, char byte)
{
	char *bytes = malloc(length);
	ssize_t count;

	memset(bytes, byte, length);
	count = pwrite(fd, bytes, length, at);
	free(bytes);
	return count == (ssize_t)length ? 0 : answer(count < 0 ? -1 : 1);
}

//: same
/* Compares with a sign a sector: a letter, '.' for zeros, '~' for sectors that hold several values. */
static void same(const char *bytes, long length, const char *expected, const char *what)
{
	char seen[65536] = "";
	long n = 0;

	for (long at = 0; at < length && n < (long)sizeof(seen) - 1; at += SECTOR) {
		long end = at + SECTOR < length ? at + SECTOR : length;
		char sign = bytes[at] ? bytes[at] : '.';

		for (long i = at; i < end; i++)
			if (bytes[i] != bytes[at])
				sign = '~';
		seen[n++] = sign;
	}
	if (strcmp(seen, expected))
		deviates("%s, by sectors:\n  expected %s\n  seen     %s", what, expected, seen);
}

//: holds same
/* Reads a file and compares. */
static long holds(int fd, off_t at, size_t length, const char *expected, const char *what)
{
	char *bytes = malloc(length);
	ssize_t count = pread(fd, bytes, length, at);

	if (count < 0)
		return -errno;
	same(bytes, count, expected, what);
	free(bytes);
	return 0;
}

//: size_is
static long size_is(int fd, off_t size, const char *what)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size != size)
		deviates("%s: expected %ld bytes, seen %ld", what, (long)size, (long)st.st_size);
	return 0;
}

//: clone_range answer
static long clone_range(int from, off_t at, size_t length, int to, off_t into)
{
	struct file_clone_range range = {
		.src_fd = from, .src_offset = (__u64)at, .src_length = length, .dest_offset = (__u64)into,
	};

	return answer(ioctl(to, FICLONERANGE, &range));
}

//: dedupe_range
/* The bytes that are shared now, or an error; FILE_DEDUPE_RANGE_DIFFERS is 0 bytes. */
static long dedupe_range(int from, off_t at, size_t length, int to, off_t into)
{
	struct {
		struct file_dedupe_range range;
		struct file_dedupe_range_info info;
	} d = {
		.range = { .src_offset = (__u64)at, .src_length = length, .dest_count = 1 },
		.info = { .dest_fd = to, .dest_offset = (__u64)into },
	};

	if (ioctl(from, FIDEDUPERANGE, &d))
		return -errno;
	if (d.info.status == FILE_DEDUPE_RANGE_DIFFERS)
		return 0;
	return d.info.status < 0 ? d.info.status : (long)d.info.bytes_deduped;
}

//: swap_extents answer
/* Exchanges all blocks of two files, which are as long, by XFS_IOC_SWAPEXT: no header of the C library has it. */
struct swap_time {
	__s64 seconds;
	__s32 nanoseconds;
};

struct swap_extents {
	__s64 version, target, donor, offset, length;
	char pad[16];
	/* struct xfs_bstat, of which the inode's last changes are read. */
	__u64 before[5];
	struct swap_time accessed, modified, changed;
	__u64 after[6];
};

static long swap_extents(int one, int other)
{
	struct swap_extents swap = { .target = one, .donor = other };
	struct stat st;

	if (fstat(one, &st))
		return -errno;
	swap.length = st.st_size;
	swap.modified.seconds = st.st_mtim.tv_sec;
	swap.modified.nanoseconds = (__s32)st.st_mtim.tv_nsec;
	swap.changed.seconds = st.st_ctim.tv_sec;
	swap.changed.nanoseconds = (__s32)st.st_ctim.tv_nsec;
	return answer(ioctl(one, _IOWR('X', 109, struct swap_extents), &swap));
}

//: exchange_range answer
/* XFS_IOC_EXCHANGE_RANGE: no header of the C library has it. */
struct exchange_range {
	__s32 first;
	__u32 pad;
	__u64 first_offset, second_offset, length, flags;
};

/* All of both files, and how long they are: XFS_EXCHANGE_RANGE_TO_EOF. */
static long exchange_range(int one, int other)
{
	struct exchange_range what = { .first = one, .flags = 1 };

	return answer(ioctl(other, _IOW('X', 129, struct exchange_range), &what));
}

//: move_extents answer
/* EXT4_IOC_MOVE_EXT: no header of the C library has it. */
struct move_extents {
	unsigned int reserved, donor;
	unsigned long long at, donor_at, count, moved;
};

/* All blocks of `file`. */
static long move_extents(int file, int donor)
{
	struct move_extents what = { .donor = (unsigned int)donor };
	struct stat st;

	if (fstat(file, &st))
		cannot("fstat");
	what.count = (unsigned long long)(st.st_size + PAGE - 1) / PAGE;
	return answer(ioctl(file, _IOWR('f', 15, struct move_extents), &what));
}

//: swap_boot answer
/* EXT4_IOC_SWAP_BOOT: no header of the C library has it. */
static long swap_boot(int file)
{
	return answer(ioctl(file, _IO('f', 17)));
}

//: can_swap_boot swap_boot new_file unlink_file
/* Tries it on a file that must have a name. Twice: what the boot loader has is its own. */
static long can_swap_boot(void)
{
	long said;
	int fd;

	new_file(&fd, "probe", "p..p");
	said = swap_boot(fd);
	if (!said)
		said = swap_boot(fd);
	unlink_file("probe");
	return said;
}

//: direct answer
/* Direct I/O between a file and a mapping; the bytes transferred. */
static long direct(const char *name, off_t at, char *buffer, size_t length, int is_write)
{
	int fd = open(path_of(name), O_RDWR | O_DIRECT);
	long count;

	if (fd < 0)
		return -errno;
	count = answer(is_write ? pwrite(fd, buffer, length, at) : pread(fd, buffer, length, at));
	close(fd);
	return count;
}

//: map_file
struct map {
	char *at;
	size_t length;
};

static long map_file(struct map *map, int fd, off_t at, size_t length, int flags)
{
	map->length = length;
	map->at = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, at);
	return map->at == MAP_FAILED ? -errno : 0;
}

//: fault
/* A SIGBUS is told as EFAULT. To the compiler nobody reads this but the handler. */
static __thread sigjmp_buf *volatile bus;

static void on_bus(int signal)
{
	(void)signal;
	if (!bus)
		_exit(2);
	siglongjmp(*bus, 1);
}

//: touch fault map_file
static __attribute__((noinline)) void touch_each(const volatile char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i += PAGE)
		(void)bytes[i];
}

static long touch(const struct map *map, size_t at, size_t length)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 1)) {
		bus = NULL;
		return -EFAULT;
	}
	bus = &here;
	touch_each(map->at + at, length);
	bus = NULL;
	return 0;
}

//: store fault map_file
static long store(const struct map *map, size_t at, size_t length, char byte)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 1)) {
		bus = NULL;
		return -EFAULT;
	}
	bus = &here;
	memset(map->at + at, byte, length);
	bus = NULL;
	return 0;
}

//: huge_pages
#include <sys/resource.h>

/* How many faults the thread has had. */
static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* That many bytes were accessed with so many faults; without huge pages nothing can be said. */
static void huge_pages(size_t length, long took)
{
	if (took <= (long)(length >> 20))
		return;
	fputs("cannot tell: the file is not mapped by huge pages\n", stderr);
	end(2);
}

//: touch_huge touch huge_pages
/* The same of whole huge pages. */
static long touch_huge(const struct map *map, size_t at, size_t length)
{
	long before = faults(), said = touch(map, at, length);

	if (!said)
		huge_pages(length, faults() - before);
	return said;
}

//: store_huge store huge_pages
/* The same of whole huge pages. */
static long store_huge(const struct map *map, size_t at, size_t length, char byte)
{
	long before = faults(), said = store(map, at, length, byte);

	if (!said)
		huge_pages(length, faults() - before);
	return said;
}

//: shows fault map_file same
/* Reads through a mapping and compares. */
static long shows(const struct map *map, size_t at, size_t length, const char *expected, const char *what)
{
	sigjmp_buf here;
	char *bytes = malloc(length);

	if (sigsetjmp(here, 1)) {
		bus = NULL;
		return -EFAULT;
	}
	bus = &here;
	memcpy(bytes, map->at + at, length);
	bus = NULL;
	same(bytes, (long)length, expected, what);
	free(bytes);
	return 0;
}

//: track_stores answer
/* From now on stores of the process are told of, and those before are forgotten. */
static long track_stores(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);
	long said = fd < 0 ? -errno : answer(write(fd, "4", 1));

	close(fd);
	return said < 0 ? said : 0;
}

//: stored_to map_file
/* How many pages of a mapping were stored to since: bit 55 of their entries. */
static long stored_to(const struct map *map, size_t at, size_t length)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	long count = 0;
	__u64 entry;

	if (fd < 0)
		return -errno;
	for (size_t page = 0; page < length / PAGE; page++) {
		off_t where = (off_t)((size_t)(map->at + at) / PAGE + page) * (off_t)sizeof(entry);

		if (pread(fd, &entry, sizeof(entry), where) != sizeof(entry))
			return -EIO;
		count += entry >> 55 & 1;
	}
	close(fd);
	return count;
}

//: create_in_memory
/* A file of the page cache, with a page of each letter. */
static long create_in_memory(int *fd, const char *fill)
{
	char page[PAGE];

	*fd = memfd_create("cached", MFD_CLOEXEC);
	for (long i = 0; fill[i]; i++) {
		memset(page, fill[i], PAGE);
		if (pwrite(*fd, page, PAGE, i * PAGE) != PAGE)
			cannot("memfd_create");
	}
	return 0;
}

//: gather answer map_file
/* One write of both buffers, each for half of it. */
static long gather(int file, off_t at, size_t length, char *first, char *second)
{
	struct iovec iov[] = { { first, length / 2 }, { second, length / 2 } };
	long moved = answer(pwritev(file, iov, 2, at));

	return moved == (long)length ? 0 : moved < 0 ? moved : -EIO;
}

//: futex_wait answer map_file
#include <linux/futex.h>

/* Waits for the first word of a mapping, in which others may wait who have mapped it elsewhere. */
static long futex_wait(const struct map *map)
{
	const volatile unsigned int *word = (const volatile unsigned int *)map->at;

	return answer(syscall(SYS_futex, word, FUTEX_WAIT, *word, NULL, NULL, 0));
}

//: futex_wake answer map_file
#include <linux/futex.h>

/* Wakes all who wait for the first word of a mapping; how many did. */
static long futex_wake(const struct map *map)
{
	return answer(syscall(SYS_futex, map->at, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
}

//: write_protect map_file
#include <linux/userfaultfd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/* Write-protects a mapping for as long as the process lives; the kernel undoes it page by page. */
static long write_protect(struct map *map)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC };
	struct uffdio_range range = { (__u64)map->at, map->length };
	struct uffdio_register registered = { .range = range, .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect protect = { .range = range, .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &registered) ||
	    ioctl(fd, UFFDIO_WRITEPROTECT, &protect))
		return -errno;
	return 0;
}

//: pin_pages map_file
/* A pipe with pages of a mapping in it, pinned by vmsplice(2). */
struct pin {
	int pipe[2];
	char bytes[65536];
	long length;
};

static long pin_pages(struct pin *pin, const struct map *map, size_t at, size_t length)
{
	struct iovec iov = { map->at + at, length };
	ssize_t count = vmsplice(pin->pipe[1], &iov, 1, 0);

	if (count < 0)
		return -errno;
	if (count != (ssize_t)length) {
		errno = EIO;
		cannot("vmsplice");
	}
	return 0;
}

//: unpin pin_pages
/* Takes the pages out of the pipe: nobody else refers to them. */
static void unpin(struct pin *pin)
{
	int length;	/* a forked process may have filled it */

	if (ioctl(pin->pipe[0], FIONREAD, &length) || length > (int)sizeof(pin->bytes))
		cannot("looking into the pipe");
	pin->length = length;
	for (int done = 0; done < length;) {
		ssize_t count = read(pin->pipe[0], pin->bytes + done, (size_t)(length - done));

		if (count <= 0)
			cannot("reading the pipe");
		done += (int)count;
	}
}

//: make_held answer map_file
#include <linux/aio_abi.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>

/*
 * A device that holds direct I/O: dm-linear on a loop device on a file in memory. While it is suspended, what was
 * submitted waits, with its pages pinned.
 */
struct held {
	const char *name;
	int memory, device;
	aio_context_t context;
	long length;
	char bytes[65536];
};

struct dm_request {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char words[64];
};

static long dm_request(struct dm_request *request, unsigned long number, const char *name, pid_t owner, __u32 flags)
{
	int control = open("/dev/mapper/control", O_RDWR);
	long said;

	if (control < 0)
		return -errno;
	request->head.version[0] = DM_VERSION_MAJOR;
	request->head.data_size = sizeof(*request);
	request->head.data_start = offsetof(struct dm_request, target);
	request->head.flags = flags;
	request->head.dev = 0;
	snprintf(request->head.name, sizeof(request->head.name), "daxtests-%d-%s", owner, name);
	said = answer(ioctl(control, number, request));
	close(control);
	return said;
}

/* Makes it, full of `byte`, and suspends it. Forked processes share what is known of it. */
static long make_held(struct held **made_held, const char *name, char byte)
{
	struct held *held = mmap(NULL, sizeof(*held), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct loop_config loop = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	struct dm_request made = { .head.version = { 0 } }, table = { .head.target_count = 1 }, other = { .words = "" };
	char page[PAGE], path[64];
	int control, number, below;
	pid_t owner = getppid();
	long said;

	if (held == MAP_FAILED)
		return -errno;
	*made_held = held;
	held->name = name;
	held->memory = memfd_create("held", MFD_CLOEXEC);
	if (held->memory < 0)
		return -errno;
	memset(page, byte, PAGE);
	for (size_t at = 0; at < sizeof(held->bytes); at += PAGE)
		if (pwrite(held->memory, page, PAGE, (off_t)at) != PAGE)
			return -EIO;
	control = open("/dev/loop-control", O_RDWR);
	number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (number < 0)
		return -errno;
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	loop.fd = (__u32)held->memory;
	below = open(path, O_RDWR);
	if (below < 0 || ioctl(below, LOOP_CONFIGURE, &loop))
		return -errno;
	table.target.length = sizeof(held->bytes) / SECTOR;
	strcpy(table.target.target_type, "linear");
	snprintf(table.words, sizeof(table.words), "/dev/loop%d 0", number);
	if ((said = dm_request(&made, DM_DEV_CREATE, name, owner, 0)) ||
	    (said = dm_request(&table, DM_TABLE_LOAD, name, owner, 0)) ||
	    (said = dm_request(&other, DM_DEV_SUSPEND, name, owner, 0)))
		return said;
	snprintf(path, sizeof(path), "/dev/dm-%u", (unsigned int)((made.head.dev & 0xff) | (made.head.dev >> 12 & 0xfff00)));
	held->device = open(path, O_RDWR | O_DIRECT);
	if (held->device < 0)
		return -errno;
	close(below);
	close(control);
	return dm_request(&other, DM_DEV_SUSPEND, name, owner, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG);
}

//: pin_held make_held
/* Submits direct I/O between a mapping and the device. */
static long pin_held(struct held *held, const struct map *map, size_t at, size_t length, int is_write)
{
	struct iocb io = {
		.aio_lio_opcode = is_write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = (__u32)held->device,
		.aio_buf = (__u64)(map->at + at),
		.aio_nbytes = length,
	}, *all[] = { &io };
	struct io_event event;

	if (length > sizeof(held->bytes) || syscall(SYS_io_setup, 1, &held->context))
		cannot("io_setup");
	if (syscall(SYS_io_submit, held->context, 1, all) != 1)
		return -errno;
	held->length = (long)length;
	/* What pins no page is over at once; the device withholds every other. */
	if (syscall(SYS_io_getevents, held->context, 0, 1, &event, NULL) == 1)
		return event.res < 0 ? (long)event.res : -EIO;
	return 0;
}

//: unpin_held make_held
static void unpin_held(struct held *held)
{
	struct dm_request request = { .words = "" };

	errno = (int)-dm_request(&request, DM_DEV_SUSPEND, held->name, getppid(), 0);
	if (errno)
		cannot("resuming the device");
}

//: reap pin_held
/* Waits for the end of the direct I/O. */
static long reap(const struct held *held)
{
	struct io_event event;

	if (syscall(SYS_io_getevents, held->context, 1, 1, &event, NULL) != 1)
		return -errno;
	return event.res == held->length ? 0 : event.res < 0 ? (long)event.res : -EIO;
}

//: held_bytes make_held
/* What went through: what the device holds now. */
static const char *held_bytes(struct held *held)
{
	if (pread(held->memory, held->bytes, (size_t)held->length, 0) != held->length)
		cannot("reading what the device holds");
	return held->bytes;
}

//: remove_held make_held
/* Lets go, whatever became of the test. */
static void remove_held(const char *name)
{
	struct dm_request request = { .words = "" };

	dm_request(&request, DM_DEV_SUSPEND, name, getpid(), 0);
	memset(&request, 0, sizeof(request));
	dm_request(&request, DM_DEV_REMOVE, name, getpid(), DM_DEFERRED_REMOVE);
}

//: pin_own map_file
/* Pins pages in a pipe of the process's own, until it ends. */
static long pin_own(const struct map *map, size_t at, size_t length)
{
	struct iovec iov = { map->at + at, length };
	ssize_t count;
	int ends[2];

	if (pipe(ends))
		cannot("pipe");
	count = vmsplice(ends[1], &iov, 1, 0);
	if (count >= 0 && count != (ssize_t)length) {
		errno = EIO;
		cannot("vmsplice");
	}
	return count < 0 ? -errno : 0;
}

//: remote answer map_file need
#include <sys/prctl.h>
#include <linux/userfaultfd.h>

/*
 * Another process that pins pages, by process_vm_readv(2) or process_vm_writev(2), and keeps them:
 * userfaultfd(2) withholds the memory of its own that it copies to or from. It is forked before
 * any file is mapped.
 */
struct remote {
	int step;
	pid_t pid;
	char *at, *own;
	size_t length;
	int is_write;
	char byte, bytes[65536];
	long result;
	const char *lacks;
};

enum { BEGUN, READY, ASKED, PINNED, RELEASED, DONE };

static int step_of(struct remote *remote)
{
	return __atomic_load_n(&remote->step, __ATOMIC_ACQUIRE);
}

static void set_step(struct remote *remote, int step)
{
	__atomic_store_n(&remote->step, step, __ATOMIC_RELEASE);
}

static void *transfer(void *argument)
{
	struct remote *remote = argument;
	struct iovec own = { remote->own, remote->length }, theirs = { remote->at, remote->length };

	remote->result = answer(remote->is_write ? process_vm_writev(remote->pid, &own, 1, &theirs, 1, 0) :
						   process_vm_readv(remote->pid, &own, 1, &theirs, 1, 0));
	if (step_of(remote) == ASKED)
		set_step(remote, DONE);
	return NULL;
}

static _Noreturn void lacks(struct remote *remote, const char *what)
{
	remote->result = -errno;
	remote->lacks = what;
	set_step(remote, DONE);
	_exit(0);
}

static _Noreturn void serve(struct remote *remote)
{
	char copied;
	/* Its parent has it at the same address. */
	struct iovec to = { &copied, 1 }, from = { &remote->byte, 1 };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register withheld = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_copy copy = { 0 };
	struct pollfd event = { .events = POLLIN };
	pthread_t thread;
	char *filled;

	/* Without O_NONBLOCK poll(2) says POLLERR at once. */
	event.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (event.fd < 0 || ioctl(event.fd, UFFDIO_API, &api))
		lacks(remote, "userfaultfd(2)");
	if (process_vm_readv(getppid(), &to, 1, &from, 1, 0) != 1)
		lacks(remote, "access to another process's memory (process_vm_readv(2))");
	set_step(remote, READY);
	while (step_of(remote) != ASKED)
		usleep(1000);
	remote->own = mmap(NULL, remote->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	withheld.range.start = (__u64)(unsigned long)remote->own;
	withheld.range.len = remote->length;
	if (remote->own == MAP_FAILED || ioctl(event.fd, UFFDIO_REGISTER, &withheld))
		cannot("userfaultfd");
	if (pthread_create(&thread, NULL, transfer, remote))
		cannot("pthread_create");
	/* Its copy waits for this memory, so the pages are pinned; or it has failed. */
	while (poll(&event, 1, 10) == 0 && step_of(remote) != DONE)
		;
	if (step_of(remote) == DONE)
		_exit(0);
	if (event.revents != POLLIN)
		cannot("userfaultfd: poll");
	set_step(remote, PINNED);
	while (step_of(remote) != RELEASED)
		usleep(1000);
	filled = malloc(remote->length);
	memset(filled, remote->byte, remote->length);
	copy.dst = withheld.range.start;
	copy.src = (__u64)(unsigned long)filled;
	copy.len = remote->length;
	if (ioctl(event.fd, UFFDIO_COPY, &copy))
		cannot("UFFDIO_COPY");
	pthread_join(thread, NULL);
	memcpy(remote->bytes, remote->own, remote->length);
	set_step(remote, DONE);
	_exit(0);
}

static struct remote *begin_remote(void)
{
	struct remote *remote =
		mmap(NULL, sizeof(*remote), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (remote == MAP_FAILED)
		cannot("mmap");
	switch (fork()) {
	case -1:
		cannot("fork");
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(remote);
	}
	while (step_of(remote) == BEGUN)
		usleep(1000);
	if (remote->lacks)
		need(remote->result, remote->lacks);
	return remote;
}

static long pin_remote(struct remote *remote, const struct map *map, size_t at, size_t length, int is_write, char byte)
{
	remote->pid = getpid();
	remote->at = map->at + at;
	remote->length = length;
	remote->is_write = is_write;
	remote->byte = byte;
	set_step(remote, ASKED);
	while (step_of(remote) == ASKED)
		usleep(1000);
	return step_of(remote) == PINNED ? 0 : remote->result;
}

//: unpin_remote remote
static void unpin_remote(struct remote *remote)
{
	set_step(remote, RELEASED);
	for (int looks = 0; step_of(remote) != DONE; looks++) {
		if (looks >= 3000)
			deviates("the transfer that held the pin did not end within 30 s");
		usleep(10000);
	}
	if (remote->result != (long)remote->length)
		deviates("the transfer that held the pin ended with %ld", remote->result);
}

//: register_buffer map_file answer
#include <linux/io_uring.h>

/* Asks for a long-term pin: a registered buffer of io_uring. */
static long register_buffer(const struct map *map, size_t at, size_t length)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { map->at + at, length };
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	long said;

	if (ring < 0)
		return -errno;
	said = answer(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1));
	close(ring);
	return said;
}

//: operation
/* An operation that another thread, or another process, is at. */
struct operation {
	long (*call)(void);
	const char *what;
	long result;
	pid_t task;
	int done;
	pthread_t thread;
};

static void *perform(void *argument)
{
	struct operation *op = argument;
	long result;

	__atomic_store_n(&op->task, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	result = op->call();
	op->result = result;
	__atomic_store_n(&op->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static inline int is_done(struct operation *op)
{
	return __atomic_load_n(&op->done, __ATOMIC_ACQUIRE);
}

//: state operation
/* The state of its task: S and D are asleep, R runs. */
static char state(struct operation *op)
{
	char path[64], text[512] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", __atomic_load_n(&op->task, __ATOMIC_ACQUIRE));
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		close(fd);
	}
	return strrchr(text, ')') ? strrchr(text, ')')[2] : '?';
}

//: print_stack operation
static void print_stack(struct operation *op)
{
	char path[64], line[256];
	FILE *stack;

	snprintf(path, sizeof(path), "/proc/%d/stack", op->task);
	stack = fopen(path, "r");
	while (stack && fgets(line, sizeof(line), stack))
		fprintf(stderr, "  %s", line);
	if (stack)
		fclose(stack);
}

//: begin_operation operation
static void begin_operation(struct operation *op, const char *what, long (*call)(void))
{
	op->what = what;
	op->call = call;
	errno = pthread_create(&op->thread, NULL, perform, op);
	if (errno)
		cannot("pthread_create");
}

//: settle operation state
/* It must return or sleep; whether it sleeps, and has not returned a second later. */
static int settle(struct operation *op)
{
	int asleep = 0;

	for (int looks = 0; asleep < 50; looks++) {
		char now = state(op);

		if (is_done(op))
			return 0;
		asleep = now == 'S' || now == 'D' ? asleep + 1 : 0;
		if (looks >= 500)
			deviates("%s: it neither sleeps nor returns", op->what);
		usleep(20000);
	}
	return 1;
}

//: expect_blocked settle
/* It must sleep now, and must not have returned a second later. */
static void expect_blocked(struct operation *op)
{
	if (!settle(op))
		deviates("%s: it must wait, and returned: %s", op->what,
			 op->result < 0 ? strerror((int)-op->result) : "success");
}

//: expect_end operation print_stack
static void expect_end(struct operation *op, long expected)
{
	for (int looks = 0; !is_done(op); looks++) {
		if (looks >= 3000) {
			print_stack(op);
			deviates("%s: it did not return within 30 s, and nothing holds it up", op->what);
		}
		usleep(10000);
	}
	expect(op->result, expected, op->what);
}

//: make_buffer answer
#include <linux/userfaultfd.h>

/*
 * Memory of a read(2) or a write(2), all of which but the first sector userfaultfd(2) withholds: the kernel
 * copies that sector, and waits for the rest with all that it has locked.
 */
struct buffer {
	int events;
	char *first, *withheld;
	size_t length, missing;
	char byte;
};

static long make_buffer(struct buffer *buffer, size_t length, char byte)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register missing = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *at;

	buffer->length = length;
	buffer->missing = (length - SECTOR + PAGE - 1) / PAGE * PAGE;
	buffer->byte = byte;
	/* Without O_NONBLOCK poll(2) says POLLERR at once. */
	buffer->events = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (buffer->events < 0 || ioctl(buffer->events, UFFDIO_API, &api))
		return -errno;
	at = mmap(NULL, PAGE + buffer->missing, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	memset(at, byte, PAGE);
	buffer->withheld = at + PAGE;
	buffer->first = buffer->withheld - SECTOR;
	missing.range.start = (__u64)(unsigned long)buffer->withheld;
	missing.range.len = buffer->missing;
	return answer(ioctl(buffer->events, UFFDIO_REGISTER, &missing));
}

//: write_from make_buffer
static long write_from(const struct buffer *buffer, int fd, off_t at)
{
	ssize_t count = pwrite(fd, buffer->first, buffer->length, at);

	return count == (ssize_t)buffer->length ? 0 : answer(count < 0 ? -1 : 1);
}

//: read_into make_buffer same
/* Reads a file and compares. */
static long read_into(const struct buffer *buffer, int fd, off_t at, const char *expected, const char *what)
{
	ssize_t count = pread(fd, buffer->first, buffer->length, at);

	if (count < 0)
		return -errno;
	same(buffer->first, count, expected, what);
	return 0;
}

//: expect_asked make_buffer operation
/* Waits until the operation waits for its memory. */
static void expect_asked(const struct buffer *buffer, struct operation *op)
{
	struct pollfd event = { .fd = buffer->events, .events = POLLIN };

	while (poll(&event, 1, 10) == 0)
		if (is_done(op)) {
			fprintf(stderr, "cannot tell: %s: it did not wait for its memory\n", op->what);
			end(2);
		}
}

//: provide make_buffer
/* Provides the rest of the memory, and so lets the operation go on. */
static void provide(const struct buffer *buffer)
{
	char *bytes = malloc(buffer->missing);
	struct uffdio_copy copy = {
		.dst = (__u64)(unsigned long)buffer->withheld,
		.src = (__u64)(unsigned long)bytes,
		.len = buffer->missing,
	};

	memset(bytes, buffer->byte, buffer->missing);
	if (ioctl(buffer->events, UFFDIO_COPY, &copy))
		cannot("UFFDIO_COPY");
	free(bytes);
}

//: process operation
/* A forked process that does what it is told. */
struct process {
	pid_t pid;
	int orders[2];
};

static void fork_process(struct process *process)
{
	struct operation *op;

	if (pipe(process->orders))
		cannot("pipe");
	process->pid = fork();
	if (process->pid < 0)
		cannot("fork");
	if (process->pid)
		return;
	close(process->orders[1]);
	while (read(process->orders[0], &op, sizeof(op)) == sizeof(op))
		perform(op);
	_exit(0);
}

static void begin_in(struct process *process, struct operation *op, const char *what, long (*call)(void))
{
	op->what = what;
	op->call = call;
	if (write(process->orders[1], &op, sizeof(op)) != sizeof(op))
		cannot("a forked process");
}

//: kill_process process
static void kill_process(struct process *process)
{
	kill(process->pid, SIGKILL);
	for (int looks = 0; waitpid(process->pid, NULL, WNOHANG) == 0; looks++) {
		if (looks >= 3000)
			deviates("process %d was sent SIGKILL and did not end within 30 s", process->pid);
		usleep(10000);
	}
}

//: interrupt operation
static void interrupt(struct operation *op)
{
	syscall(SYS_tkill, op->task, SIGUSR1);
}

//: kernel_log
/* What the kernel warns of from now on. */
static int kernel_log = -1;

static void watch_kernel_log(void)
{
	int warn;

	kernel_log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (kernel_log < 0)
		fprintf(stderr, "note: /dev/kmsg: %s: warnings are not looked for\n", strerror(errno));
	else
		lseek(kernel_log, 0, SEEK_END);
	/* A WARN_ON_ONCE that has warned since boot warns again. */
	warn = open("/sys/kernel/debug/clear_warn_once", O_WRONLY);
	if (warn >= 0 && write(warn, "1", 1) != 1)
		fprintf(stderr, "note: clear_warn_once: %s\n", strerror(errno));
}

static void check_kernel_log(void)
{
	char line[8192], *text;
	ssize_t length;

	while (kernel_log >= 0) {
		length = read(kernel_log, line, sizeof(line) - 1);
		if (length < 0 && errno == EPIPE)
			continue;
		if (length <= 0)
			return;
		line[length] = 0;
		text = strchr(line, ';');
		if (text && (strstr(text, "WARNING: ") || strstr(text, "BUG: ") || strstr(text, "Oops")))
			deviates("the kernel log: %.*s", (int)strcspn(text + 1, "\n"), text + 1);
	}
}
