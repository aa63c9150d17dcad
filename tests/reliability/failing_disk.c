/* Preloaded into the program under test (LD_PRELOAD), this library makes writes to a folder fail.
 *
 *   DISK_UNDER   the real path of a folder: calls that write to it are counted over all processes
 *   DISK_COUNT   a file of at least 8 bytes that holds the count
 *   DISK_FIRST, DISK_LAST   the first and the last counted call that fail
 *   DISK_ERRNO   the error of failing calls
 *   DISK_LOG     a file to which the name and the path of every counted call are appended
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static const char *under;
static unsigned long *count, first, last;
static int error, report = -1;

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("DISK_UNDER"), *file = getenv("DISK_COUNT"), *log = getenv("DISK_LOG");
    if (!folder || !file) return;
    int handle = open(file, O_RDWR | O_CLOEXEC);
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
    close(handle);
    if (count == MAP_FAILED) abort();
    if (log) report = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    first = strtoul(getenv("DISK_FIRST"), NULL, 10);
    last = strtoul(getenv("DISK_LAST"), NULL, 10);
    error = atoi(getenv("DISK_ERRNO"));
    under = folder; /* from here on calls are counted */
}

static int fails(const char *call, const char *path) {
    size_t length = under ? strlen(under) : 0;
    if (!length || strncmp(path, under, length) || (path[length] && path[length] != '/')) return 0;
    unsigned long position = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    if (report >= 0) dprintf(report, "%s %s\n", call, path);
    if (position < first || position > last) return 0;
    errno = error;
    return 1;
}

static int fails_on(const char *call, int handle) {
    char link[64], path[PATH_MAX];
    if (!under) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define ON_HANDLE(type, name, parameters, ...) \
    type name parameters { \
        REAL(name); \
        return fails_on(#name, handle) ? -1 : real(__VA_ARGS__); \
    }
#define ON_PATH(name, parameters, target, ...) \
    int name parameters { \
        REAL(name); \
        return fails(#name, target) ? -1 : real(__VA_ARGS__); \
    }
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return flags & O_CREAT && fails(#name, path) ? -1 : real(path, flags, mode); \
    }

ON_HANDLE(ssize_t, write, (int handle, const void *from, size_t size), handle, from, size)
ON_HANDLE(ssize_t, writev, (int handle, const struct iovec *from, int parts), handle, from, parts)
ON_HANDLE(ssize_t, pwrite, (int handle, const void *from, size_t size, off_t at), handle, from, size, at)
ON_HANDLE(ssize_t, pwrite64, (int handle, const void *from, size_t size, off64_t at), handle, from, size, at)
ON_HANDLE(int, fsync, (int handle), handle)
ON_HANDLE(int, fdatasync, (int handle), handle)
ON_HANDLE(int, ftruncate, (int handle, off_t size), handle, size)
ON_HANDLE(int, ftruncate64, (int handle, off64_t size), handle, size)
ON_PATH(rename, (const char *from, const char *to), to, from, to)
ON_PATH(link, (const char *from, const char *to), to, from, to)
ON_PATH(mkdir, (const char *path, mode_t mode), path, path, mode)
OPEN(open)
OPEN(open64)
