/*
 * Preloaded into a program, stands for a file system and a machine that lack what LACKS says, and
 * that have all else; for tests, which have no DAX.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/fs.h>

static int is_lacking(const char *what)
{
	return strcmp(getenv("LACKS"), what) == 0;
}

static long refused(int code)
{
	errno = code;
	return -1;
}

/* What files that are made have now. */
static int is_dax = 1;

int statx(int folder, const char *restrict path, int flags, unsigned int mask, struct statx *restrict to)
{
	int (*real)(int, const char *, int, unsigned int, struct statx *) = dlsym(RTLD_NEXT, "statx");
	int code = real(folder, path, flags, mask, to);

	if (!is_lacking("dax") && (is_dax || is_lacking("without-dax")))
		to->stx_attributes |= STATX_ATTR_DAX;
	return code;
}

long sysconf(int name)
{
	(void)name;
	return is_lacking("page-size") ? 65536 : 4096;
}

int ioctl(int fd, unsigned long request, ...)
{
	static const struct {
		unsigned char type, number;
		const char *name;
		int code;
	} rows[] = {
		{ 0x94, 13, "clone", EOPNOTSUPP },
		{ 0x94, 54, "dedupe", EOPNOTSUPP },
		{ 'X', 109, "swap-extents", ENOTTY },
		{ 'X', 129, "exchange-range", EOPNOTSUPP },
		{ 'f', 17, "swap-boot", ENOTTY },
		{ 'f', 15, "move-extents", ENOTTY },
		{ 'f', 1, "flags", ENOTTY },
		{ 'f', 2, "flags", EOPNOTSUPP },
	};
	va_list rest;
	void *argument;

	(void)fd;
	va_start(rest, request);
	argument = va_arg(rest, void *);
	va_end(rest);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (_IOC_TYPE(request) == rows[i].type && _IOC_NR(request) == rows[i].number && is_lacking(rows[i].name))
			return (int)refused(rows[i].code);
	if (request == FS_IOC_GETFLAGS)
		*(int *)argument = 0;
	if (request == FS_IOC_SETFLAGS)
		is_dax = !!(*(int *)argument & FS_DAX_FL);
	return 0;
}

int fallocate(int fd, int mode, off_t at, off_t length)
{
	(void)fd, (void)mode, (void)at, (void)length;
	return is_lacking("fallocate") ? (int)refused(EOPNOTSUPP) : 0;
}

int fcntl(int fd, int command, ...)
{
	(void)fd, (void)command;
	return is_lacking("direct-io") ? (int)refused(EINVAL) : 0;
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");

	if (flags & MAP_SYNC && is_lacking("map-sync")) {
		errno = EOPNOTSUPP;
		return MAP_FAILED;
	}
	return real(at, length, protection, flags, fd, offset);
}

int memfd_create(const char *name, unsigned int flags)
{
	(void)name, (void)flags;
	return is_lacking("held") ? (int)refused(ENOSYS) : dup(0);
}

/* What the folder is below, if its device is to have no list of bad blocks. */
char *realpath(const char *restrict path, char *restrict to)
{
	(void)path;
	return strcpy(to, is_lacking("bad-blocks") ? "/none" : "/proc/none");
}

struct mntent *getmntent(FILE *mounts)
{
	static struct mntent none = { .mnt_fsname = "/dev/none", .mnt_dir = "/none", .mnt_type = "none" };
	static int told;

	(void)mounts;
	return told++ ? NULL : &none;
}

long syscall(long number, ...)
{
	(void)number;
	return is_lacking("io_uring") || is_lacking("userfaultfd") ? refused(EPERM) :
	       is_lacking("cachestat")				      ? refused(ENOSYS) :
									dup(0);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *own, unsigned long count, const struct iovec *theirs,
			 unsigned long more, unsigned long flags)
{
	(void)pid, (void)own, (void)count, (void)theirs, (void)more, (void)flags;
	return is_lacking("peer") ? refused(EPERM) : 1;
}

/* An entry of /proc/PID/pagemap. */
ssize_t pread(int fd, void *to, size_t length, off_t at)
{
	(void)fd, (void)at;
	memset(to, 0, length);
	if (!is_lacking("soft-dirty"))
		((unsigned char *)to)[6] = 1 << 7;
	return (ssize_t)length;
}
