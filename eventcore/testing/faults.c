/* Loaded before libc: makes the n-th write or sync on files of a store fail, once or several times.

   FAULT_PATH   part of the path of the files concerned
   FAULT_CALL   which call fails, 1 for the first
   FAULT_TIMES  how many in a row fail
   FAULT_ERRNO  with what; 0 makes a write fall short by half instead

   A process may plan the next failure itself (fault_plan) and ask how many calls were seen and failed since. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int calls, failed, failed_syncs, planned, planned_call, planned_code;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

/* Returns 0 to go on, -1 after setting errno, 1 for a short write. */
static int fault(int fd) {
    const char *part = getenv("FAULT_PATH");
    char link[64], path[4096];
    ssize_t length;
    if (!part) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, part)) return 0;
    int call = __sync_add_and_fetch(&calls, 1);
    int first = planned ? planned_call : number("FAULT_CALL", 0);
    if (call < first || call >= first + number("FAULT_TIMES", 1)) return 0;
    int code = planned ? planned_code : number("FAULT_ERRNO", EIO);
    __sync_add_and_fetch(&failed, 1);
    if (!code) return 1;
    errno = code;
    return -1;
}

/* Counts from here again; call 0 lets all of them through. */
void fault_plan(int call, int code) {
    planned = 1;
    planned_call = call;
    planned_code = code;
    calls = failed = failed_syncs = 0;
}

int fault_calls(void) { return calls; }
int fault_failed(void) { return failed; }
int fault_failed_syncs(void) { return failed_syncs; }

/* There are file systems that refuse to sync a folder, so what fails there is rightly passed over (SQLite does). */
static int is_folder(int fd) {
    struct stat found;
    int code = errno, folder = !fstat(fd, &found) && S_ISDIR(found.st_mode);
    errno = code;
    return folder;
}

#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITER(name, offset_type)                                                                  \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) {                      \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type);                              \
        int found = fault(fd);                                                                     \
        if (found < 0) return -1;                                                                  \
        return real(fd, data, found ? size / 2 : size, offset);                                    \
    }

#define VECTOR(name, offset_type)                                                                  \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset) {               \
        REAL(ssize_t, #name, int, const struct iovec *, int, offset_type);                         \
        int found = fault(fd);                                                                     \
        if (found < 0) return -1;                                                                  \
        return real(fd, parts, found && count > 1 ? count / 2 : count, offset);                    \
    }

#define SYNC(name)                                                                                 \
    int name(int fd) {                                                                             \
        REAL(int, #name, int);                                                                     \
        int found = fault(fd);                                                                     \
        if (found < 0 && !is_folder(fd)) __sync_add_and_fetch(&failed_syncs, 1);                   \
        return found < 0 ? -1 : real(fd);                                                          \
    }

WRITER(pwrite, off_t)
WRITER(pwrite64, off64_t)
VECTOR(pwritev, off_t)
VECTOR(pwritev64, off64_t)
SYNC(fdatasync)
SYNC(fsync)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int found = fault(fd);
    if (found < 0) return -1;
    return real(fd, data, found ? size / 2 : size);
}
