/* Stands between a process and the C library, and counts the calls that change files under one folder.
 *
 * Loaded by LD_PRELOAD. Once armed it lets the process die at the n-th such call, or lets that call fail
 * (once, or this and all later ones), as a full disk or a broken one does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, RENAME = 4, UNLINK = 8, CREATE = 16, MKDIR = 32, OPEN = 64 };
enum { COUNT = 0, DIE = 1, FAIL_ONCE = 2, FAIL_ON = 3 };

static char root[PATH_MAX];
static size_t root_length;
static unsigned kinds;
static int action, number;
static long at;
static atomic_long seen, struck;
static atomic_int armed;

void shim_arm(const char *folder, unsigned which, int what, long when, int error)
{
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    kinds = which;
    action = what;
    at = when;
    number = error;
    atomic_store(&seen, 0);
    atomic_store(&struck, 0);
    armed = 1;
}

long shim_disarm(void)
{
    armed = 0;
    return seen;
}

long shim_struck(void) { return struck; }

/* Returns whether the call is to fail; does not return where the process is to die. */
static int meet(unsigned kind)
{
    if (!(kinds & kind))
        return 0;
    long count = atomic_fetch_add(&seen, 1) + 1;
    if (action == COUNT || count < at || (count > at && action != FAIL_ON))
        return 0;
    if (action == DIE) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;)
            pause();
    }
    atomic_fetch_add(&struck, 1);
    errno = number;
    return 1;
}

static int inside(const char *path) { return !strncmp(path, root, root_length); }

static int place_of(int fd, const char *path)
{
    char link[64], found[PATH_MAX];
    if (path && path[0] == '/')
        return inside(path);
    if (fd == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int before = errno;
    ssize_t length = syscall(SYS_readlink, link, found, sizeof found - 1);
    errno = before;
    if (length < 0)
        return 0;
    found[length] = 0;
    return inside(found);
}

#define FAILS(kind, fd, path) (armed && place_of(fd, path) && meet(kind))
#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OPENER(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (FAILS(flags & (O_WRONLY | O_RDWR | O_CREAT) ? CREATE | OPEN : OPEN, AT_FDCWD, path)) \
            return -1; \
        return real(path, flags, mode); \
    }
OPENER(open)
OPENER(open64)

#define OPENER_AT(name) \
    int name(int fd, const char *path, int flags, ...) \
    { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (FAILS(flags & (O_WRONLY | O_RDWR | O_CREAT) ? CREATE | OPEN : OPEN, fd, path)) \
            return -1; \
        return real(fd, path, flags, mode); \
    }
OPENER_AT(openat)
OPENER_AT(openat64)

#define STREAM(name) \
    FILE *name(const char *path, const char *mode) \
    { \
        REAL(name); \
        if (FAILS(mode[0] != 'r' || strchr(mode, '+') ? CREATE | OPEN : OPEN, AT_FDCWD, path)) \
            return NULL; \
        return real(path, mode); \
    }
STREAM(fopen)
STREAM(fopen64)

#define CALL(kind, type, bad, name, parameters, arguments, fd, path) \
    type name parameters \
    { \
        REAL(name); \
        if (FAILS(kind, fd, path)) \
            return bad; \
        return real arguments; \
    }
CALL(WRITE, ssize_t, -1, write, (int fd, const void *data, size_t size), (fd, data, size), fd, NULL)
CALL(WRITE, ssize_t, -1, pwrite, (int fd, const void *data, size_t size, off_t to), (fd, data, size, to), fd, NULL)
CALL(WRITE, ssize_t, -1, pwrite64, (int fd, const void *data, size_t size, off64_t to), (fd, data, size, to), fd, NULL)
CALL(WRITE, ssize_t, -1, writev, (int fd, const struct iovec *data, int count), (fd, data, count), fd, NULL)
CALL(WRITE, int, -1, ftruncate, (int fd, off_t size), (fd, size), fd, NULL)
CALL(WRITE, int, -1, ftruncate64, (int fd, off64_t size), (fd, size), fd, NULL)
CALL(SYNC, int, -1, fsync, (int fd), (fd), fd, NULL)
CALL(SYNC, int, -1, fdatasync, (int fd), (fd), fd, NULL)
CALL(RENAME, int, -1, rename, (const char *old, const char *new), (old, new), AT_FDCWD, new)
CALL(RENAME, int, -1, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), to, new)
CALL(RENAME, int, -1, link, (const char *old, const char *new), (old, new), AT_FDCWD, new)
CALL(RENAME, int, -1, symlink, (const char *old, const char *new), (old, new), AT_FDCWD, new)
CALL(UNLINK, int, -1, unlink, (const char *path), (path), AT_FDCWD, path)
CALL(UNLINK, int, -1, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), fd, path)
CALL(UNLINK, int, -1, rmdir, (const char *path), (path), AT_FDCWD, path)
CALL(MKDIR, int, -1, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
CALL(MKDIR, int, -1, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), fd, path)

ssize_t sendfile(int to, int from, off_t *start, size_t size);
CALL(WRITE, ssize_t, -1, sendfile, (int to, int from, off_t *start, size_t size), (to, from, start, size), to, NULL)
ssize_t sendfile64(int to, int from, off64_t *start, size_t size);
CALL(WRITE, ssize_t, -1, sendfile64, (int to, int from, off64_t *start, size_t size), (to, from, start, size), to, NULL)
CALL(WRITE, ssize_t, -1, copy_file_range, (int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags), (from, a, to, b, size, flags), to, NULL)

/* The C library's own streams write by an inner name that cannot be stood before. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
    REAL(fwrite);
    if (FAILS(WRITE, fileno(file), NULL))
        return 0;
    return real(data, size, count, file);
}
