/* Loaded before libc: appends every call that changes files below a folder to a trace, in the order they happen.

   POWERCUT_ROOT   the folder
   POWERCUT_TRACE  the trace; its records are read by powercut_disk.py

   One lock is held over the call and its record, so the order of the records is the order of the calls. Contents
   written through shared maps are not seen: a file that is mapped so is marked, and may hold anything afterwards. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATE = 1, WRITE, TRUNCATE, ALLOCATE, SYNC, RENAME, LINK, UNLINK, MKDIR, MAPPED, MARK, UNKNOWN };

struct record {
    uint32_t kind, path, other, data;
    uint64_t inode;
    int64_t offset, size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1, mapped;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("POWERCUT_ROOT"), *file = getenv("POWERCUT_TRACE");
    if (!folder || !file) return;
    root_length = (size_t)snprintf(root, sizeof root, "%s", folder);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    trace = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, fd);
}

static void emit(int kind, uint64_t inode, int64_t offset, int64_t size, const char *path, const char *other,
                 const void *data, size_t length) {
    struct record head = {(uint32_t)kind, path ? (uint32_t)strlen(path) : 0, other ? (uint32_t)strlen(other) : 0,
                          (uint32_t)length, inode, offset, size};
    struct iovec parts[4] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)other, head.other},
                             {(void *)data, length}};
    int before = errno;
    ssize_t wanted = (ssize_t)(sizeof head + head.path + head.other + length);
    if (syscall(SYS_writev, trace, parts, 4) != wanted) abort();
    errno = before;
}

/* The trace must be whole, so what cannot be described is an error of the test, not of the library under test. */
static int inside(const char *path) {
    return trace >= 0 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

/* The inode of a file below the folder, 0 of any other. A file that was unlinked is still followed. */
static uint64_t inode_of(int fd) {
    char path[PATH_MAX];
    struct stat found;
    int before = errno;
    if (trace < 0 || !path_of(fd, path) || !inside(path) || fstat(fd, &found)) found.st_ino = 0;
    errno = before;
    return found.st_ino;
}

static const char *absolute(int folder, const char *path, char *out) {
    char base[PATH_MAX];
    if (path[0] == '/') return path;
    if (folder == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of(folder, base)) return path;
    snprintf(out, PATH_MAX, "%.2000s/%.2000s", base, path);
    return out;
}

#define REAL(type, name, ...)                                                                                    \
    static type (*real)(__VA_ARGS__);                                                                            \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define LOCKED(statement)                                                                                        \
    pthread_mutex_lock(&lock);                                                                                   \
    statement;                                                                                                   \
    pthread_mutex_unlock(&lock)

/* --- opening ------------------------------------------------------------------------------------------------ */

static int plain_open(int folder, const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *whole = absolute(folder, path, buffer);
    if (!inside(whole)) return plain_open(folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat found;
    int there = !lstat(whole, &found);
    int fd = plain_open(folder, path, flags, mode);
    if (fd >= 0 && (flags & O_TMPFILE) == O_TMPFILE) emit(UNKNOWN, 0, 0, 0, whole, 0, 0, 0);
    if (fd >= 0 && !there && flags & O_CREAT) emit(CREATE, inode_of(fd), 0, 0, whole, 0, 0, 0);
    if (fd >= 0 && there && flags & O_TRUNC) emit(TRUNCATE, found.st_ino, 0, 0, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE                                                                                                     \
    mode_t mode = 0;                                                                                             \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                         \
        va_list rest;                                                                                            \
        va_start(rest, flags);                                                                                   \
        mode = va_arg(rest, mode_t);                                                                             \
        va_end(rest);                                                                                            \
    }

#define OPEN(name)                                                                                               \
    int name(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
#define OPENAT(name)                                                                                             \
    int name(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* --- contents ----------------------------------------------------------------------------------------------- */

static void wrote(int fd, uint64_t inode, const void *data, ssize_t size, int64_t offset) {
    int flags = fcntl(fd, F_GETFL);
    if (size > 0) emit(WRITE, inode, offset, (flags & O_DSYNC) != 0, 0, 0, data, (size_t)size);
}

#define PWRITE(name, offset_type)                                                                                \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) {                                    \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type);                                            \
        uint64_t inode = inode_of(fd);                                                                           \
        if (!inode) return real(fd, data, size, offset);                                                         \
        ssize_t done;                                                                                            \
        LOCKED(done = real(fd, data, size, offset); wrote(fd, inode, data, done, offset));                       \
        return done;                                                                                             \
    }

static void wrote_parts(int fd, uint64_t inode, const struct iovec *parts, int count, ssize_t size, int64_t at) {
    for (int part = 0; part < count && size > 0; part++) {
        ssize_t here = (ssize_t)parts[part].iov_len < size ? (ssize_t)parts[part].iov_len : size;
        wrote(fd, inode, parts[part].iov_base, here, at);
        at += here;
        size -= here;
    }
}

#define PWRITEV(name, offset_type)                                                                               \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset) {                             \
        REAL(ssize_t, #name, int, const struct iovec *, int, offset_type);                                       \
        uint64_t inode = inode_of(fd);                                                                           \
        if (!inode) return real(fd, parts, count, offset);                                                       \
        ssize_t done;                                                                                            \
        LOCKED(done = real(fd, parts, count, offset); wrote_parts(fd, inode, parts, count, done, offset));       \
        return done;                                                                                             \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    uint64_t inode = inode_of(fd);
    if (!inode) return real(fd, data, size);
    ssize_t done;
    LOCKED(done = real(fd, data, size); wrote(fd, inode, data, done, lseek(fd, 0, SEEK_CUR) - done));
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    uint64_t inode = inode_of(fd);
    if (!inode) return real(fd, parts, count);
    ssize_t done;
    LOCKED(done = real(fd, parts, count);
           wrote_parts(fd, inode, parts, count, done, lseek(fd, 0, SEEK_CUR) - done));
    return done;
}

#define FTRUNCATE(name, offset_type)                                                                             \
    int name(int fd, offset_type size) {                                                                         \
        REAL(int, #name, int, offset_type);                                                                      \
        uint64_t inode = inode_of(fd);                                                                           \
        if (!inode) return real(fd, size);                                                                       \
        int done;                                                                                                \
        LOCKED(done = real(fd, size); if (!done) emit(TRUNCATE, inode, 0, size, 0, 0, 0, 0));                    \
        return done;                                                                                             \
    }

FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

/* Punching holes and the like is not described: no backend does it. */
static int allocated(int fd, int mode, int64_t offset, int64_t size) {
    uint64_t inode = inode_of(fd);
    int done;
    LOCKED(done = (int)syscall(SYS_fallocate, fd, mode, offset, size);
           if (inode && !done) emit(mode ? UNKNOWN : ALLOCATE, inode, 0, offset + size, 0, 0, 0, 0));
    return done;
}

int fallocate(int fd, int mode, off_t offset, off_t size) { return allocated(fd, mode, offset, size); }
int fallocate64(int fd, int mode, off64_t offset, off64_t size) { return allocated(fd, mode, offset, size); }
int posix_fallocate(int fd, off_t offset, off_t size) { return allocated(fd, 0, offset, size) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t size) { return allocated(fd, 0, offset, size) ? errno : 0; }

#define MMAP(name, offset_type)                                                                                  \
    void *name(void *place, size_t size, int rights, int flags, int fd, offset_type offset) {                    \
        REAL(void *, #name, void *, size_t, int, int, int, offset_type);                                         \
        uint64_t inode = fd >= 0 && rights & PROT_WRITE && flags & MAP_SHARED ? inode_of(fd) : 0;                \
        if (inode) { LOCKED(mapped = 1; emit(MAPPED, inode, 0, 0, 0, 0, 0, 0)); }                                \
        return real(place, size, rights, flags, fd, offset);                                                     \
    }

MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

/* Who syncs a map keeps contents in it, and those are not seen. */
int msync(void *place, size_t size, int flags) {
    REAL(int, "msync", void *, size_t, int);
    if (mapped && flags & MS_SYNC) { LOCKED(emit(UNKNOWN, 0, 0, 0, "msync", 0, 0, 0)); }
    return real(place, size, flags);
}

/* sync_file_range is not followed: it makes no promise about what a power cut leaves. */
#define SYNCS(name)                                                                                              \
    int name(int fd) {                                                                                           \
        REAL(int, #name, int);                                                                                   \
        uint64_t inode = inode_of(fd);                                                                           \
        if (!inode) return real(fd);                                                                             \
        int done;                                                                                                \
        LOCKED(done = real(fd); if (!done) emit(SYNC, inode, 0, 0, 0, 0, 0, 0));                                 \
        return done;                                                                                             \
    }

SYNCS(fsync)
SYNCS(fdatasync)

/* --- names -------------------------------------------------------------------------------------------------- */

static int renamed(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    const char *whole = absolute(from_folder, from, from_buffer), *other = absolute(to_folder, to, to_buffer);
    int done;
    LOCKED(done = (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
           if (!done && (inside(whole) || inside(other)))
               emit(flags & ~1u ? UNKNOWN : RENAME, 0, 0, 0, whole, other, 0, 0));
    return done;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return renamed(a, from, b, to, flags);
}

static int linked(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    const char *whole = absolute(from_folder, from, from_buffer), *other = absolute(to_folder, to, to_buffer);
    int done;
    LOCKED(done = (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
           if (!done && inside(other)) emit(LINK, 0, 0, 0, whole, other, 0, 0));
    return done;
}

int link(const char *from, const char *to) { return linked(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return linked(a, from, b, to, flags); }

static int removed(int folder, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *whole = absolute(folder, path, buffer);
    int done;
    LOCKED(done = (int)syscall(SYS_unlinkat, folder, path, flags);
           if (!done && inside(whole)) emit(UNLINK, 0, 0, 0, whole, 0, 0, 0));
    return done;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

static int made(int folder, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *whole = absolute(folder, path, buffer);
    struct stat found;
    int done;
    LOCKED(done = (int)syscall(SYS_mkdirat, folder, path, mode);
           if (!done && inside(whole) && !lstat(whole, &found)) emit(MKDIR, found.st_ino, 0, 0, whole, 0, 0, 0));
    return done;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }

/* --- marks -------------------------------------------------------------------------------------------------- */

/* Called by the writing process itself: what it was promised up to here. */
void powercut_mark(const char *text, size_t length) {
    LOCKED(emit(MARK, 0, 0, 0, 0, 0, text, length));
}
