/* A disk that fails, to be preloaded. Of the writes, syncs and renames below the folder FAIL_UNDER
   the one of number FAIL_AT says EIO, and so do all that follow unless FAIL_ONCE is set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long seen;

static int fails(const char *path)
{
    const char *folder = getenv("FAIL_UNDER"), *at = getenv("FAIL_AT");
    if (!folder || !at || !path || strncmp(path, folder, strlen(folder)))
        return 0;
    long number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST), bad = atol(at);
    if (getenv("FAIL_ONCE") ? number != bad : number < bad)
        return 0;
    errno = EIO;
    return 1;
}

static int fails_at(int file)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OF_FILE(type, name, parameters, arguments) \
    type name parameters { return fails_at(file) ? -1 : REAL(name) arguments; }

OF_FILE(ssize_t, write, (int file, const void *b, size_t n), (file, b, n))
OF_FILE(ssize_t, pwrite, (int file, const void *b, size_t n, off_t o), (file, b, n, o))
OF_FILE(ssize_t, pwrite64, (int file, const void *b, size_t n, off64_t o), (file, b, n, o))
OF_FILE(ssize_t, writev, (int file, const struct iovec *v, int n), (file, v, n))
OF_FILE(ssize_t, pwritev, (int file, const struct iovec *v, int n, off_t o), (file, v, n, o))
OF_FILE(ssize_t, pwritev64, (int file, const struct iovec *v, int n, off64_t o), (file, v, n, o))
OF_FILE(int, fsync, (int file), (file))
OF_FILE(int, fdatasync, (int file), (file))

int rename(const char *from, const char *to) { return fails(from) ? -1 : REAL(rename)(from, to); }
int renameat(int f, const char *from, int t, const char *to)
{
    return fails(from) ? -1 : REAL(renameat)(f, from, t, to);
}
