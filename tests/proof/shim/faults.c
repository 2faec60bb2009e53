/* Stands between a process and its files: counts, records, breaks and kills.
 *
 * Preloaded into a process (LD_PRELOAD), it takes the place of the calls by which SQLite and
 * Python change files. Files outside FAULTS_FOLDER are left alone, and so is the shared memory
 * beside a WAL ("-shm"): it is no part of what a power cut leaves.
 *
 *   FAULTS_FOLDER  the folder, absolute and resolved
 *   FAULTS_FILE    faults hit files whose names begin so; others are recorded only
 *   FAULTS_CALL    "write", "sync", or "any": which calls are counted
 *   FAULTS_AT      the call that is hit, counted from 1; missing or 0: none
 *   FAULTS_COUNT   how many calls are hit, that one and the ones that follow; 1 by default
 *   FAULTS_DO      "kill-before", "kill-after", "eio", "enospc", "short"
 *   FAULTS_SAID    file that gets one line for each call that was hit
 *   FAULTS_TRACE   file that gets a record of every change; see trace.py for its format
 *
 * A sync that is made to fail does not happen. A short write writes its first half.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "one name of each call has to do for all files");

enum call { WRITE = 1, SYNC = 2 };
enum fault { NONE, KILL_BEFORE, KILL_AFTER, FAIL, SHORT };

static const char *folder, *file;
static size_t folder_length;
static unsigned counted;
static long first, last, count;
static enum fault fault;
static int failure;
static int said = -1, trace = -1;
static uint64_t record_count;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static int output(const char *name) {
    const char *path = getenv(name);
    return path ? real_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
}

static void choose_fault(void) {
    const char *what = getenv("FAULTS_DO");
    const char *call = getenv("FAULTS_CALL");
    if (!what) return;
    if (!strcmp(what, "kill-before")) fault = KILL_BEFORE;
    if (!strcmp(what, "kill-after")) fault = KILL_AFTER;
    if (!strcmp(what, "short")) fault = SHORT;
    if (!strcmp(what, "eio") || !strcmp(what, "enospc")) fault = FAIL;
    failure = strcmp(what, "enospc") ? EIO : ENOSPC;
    counted = WRITE | SYNC;
    if (call && !strcmp(call, "write")) counted = WRITE;
    if (call && !strcmp(call, "sync")) counted = SYNC;
}

__attribute__((constructor)) static void start(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    folder = getenv("FAULTS_FOLDER");
    if (!folder) return;
    folder_length = strlen(folder);
    file = getenv("FAULTS_FILE");
    first = number("FAULTS_AT", 0);
    last = first + number("FAULTS_COUNT", 1) - 1;
    choose_fault();
    said = output("FAULTS_SAID");
    trace = output("FAULTS_TRACE");
}

/* --- which file is it? ------------------------------------------------------------------- */

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), ending = strlen(end);
    return length >= ending && !strcmp(text + length - ending, end);
}

static int is_ours(const char *path) {
    if (!folder || strncmp(path, folder, folder_length)) return 0;
    if (path[folder_length] != '/' && path[folder_length]) return 0;
    return !ends_with(path, "-shm") && !ends_with(path, ".lock");
}

static int path_of(int fd, char *path) {
    char link[64];
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_ours(path);
}

static const char *name_in(const char *path) {
    return path[folder_length] ? path + folder_length + 1 : "";
}

/* --- the trace --------------------------------------------------------------------------- */

struct __attribute__((packed)) header {
    char kind;
    uint64_t inode;
    int64_t number;
    uint32_t length;
};

static void record(char kind, uint64_t inode, int64_t figure, const void *bytes, size_t length) {
    struct header head = {kind, inode, figure, (uint32_t)length};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)bytes, length}};
    int before = errno;
    pthread_mutex_lock(&turn);
    if (writev(trace, parts, 2) != (ssize_t)(sizeof head + length)) abort();
    record_count++;
    pthread_mutex_unlock(&turn);
    errno = before;
}

static uint64_t inode_of(int fd, int *is_folder) {
    struct stat status;
    if (fstat(fd, &status)) return 0;
    if (is_folder) *is_folder = S_ISDIR(status.st_mode);
    return status.st_ino;
}

/* --- the faults -------------------------------------------------------------------------- */

static void say(const char *call, const char *path, long place) {
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", place, call, name_in(path));
    if (said >= 0 && real_write(said, line, (size_t)length) < 0) abort();
}

/* What is to happen to a call. */
static enum fault next_fault(enum call kind, const char *name, const char *path) {
    if (fault == NONE || !first || !(counted & kind)) return NONE;
    if (file && strncmp(name_in(path), file, strlen(file))) return NONE;
    long place = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (place < first || place > last) return NONE;
    if (fault == SHORT && kind != WRITE) return NONE;
    say(name, path, place);
    if (fault == KILL_BEFORE) kill(getpid(), SIGKILL);
    return fault;
}

static void end_if(enum fault what) {
    if (what == KILL_AFTER) kill(getpid(), SIGKILL);
}

/* --- the calls --------------------------------------------------------------------------- */

static ssize_t do_write(const char *call, int fd, const void *bytes, size_t length, off_t at) {
    char path[PATH_MAX];
    int is_plain = at < 0;
    if (!path_of(fd, path))
        return is_plain ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, at);
    enum fault what = next_fault(WRITE, call, path);
    if (what == FAIL) {
        errno = failure;
        return -1;
    }
    if (what == SHORT && length > 1) length /= 2;
    ssize_t written =
        is_plain ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, at);
    if (trace >= 0 && written > 0) {
        int64_t offset = is_plain ? lseek(fd, 0, SEEK_CUR) - written : at;
        record('w', inode_of(fd, NULL), offset, bytes, (size_t)written);
    }
    end_if(what);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return do_write("write", fd, bytes, length, -1);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    return do_write("write", fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return do_write("write", fd, bytes, length, at);
}

static int do_sync(const char *call, int fd, int (*real)(int)) {
    char path[PATH_MAX];
    int is_folder = 0;
    if (!path_of(fd, path)) return real(fd);
    uint64_t inode = inode_of(fd, &is_folder);
    enum fault what = is_folder ? NONE : next_fault(SYNC, call, path);
    uint64_t covered = __atomic_load_n(&record_count, __ATOMIC_SEQ_CST);
    int result = what == FAIL ? -1 : real(fd);
    if (what == FAIL) errno = failure;
    if (trace >= 0)
        record(result ? 'f' : is_folder ? 'd' : 's', inode, (int64_t)covered, "", 0);
    end_if(what);
    return result;
}

int fsync(int fd) { return do_sync("sync", fd, real_fsync); }

int fdatasync(int fd) { return do_sync("sync", fd, real_fdatasync); }

int ftruncate64(int fd, off_t size) {
    char path[PATH_MAX];
    int result = real_ftruncate(fd, size);
    if (trace >= 0 && !result && path_of(fd, path))
        record('t', inode_of(fd, NULL), size, "", 0);
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* A file that is new, or was there before anything of it was recorded. */
static int opened(int fd, int was_there, int flags) {
    char path[PATH_MAX];
    if (fd < 0 || trace < 0 || !path_of(fd, path) || !name_in(path)[0]) return fd;
    uint64_t inode = inode_of(fd, NULL);
    if (!was_there) record('c', inode, 0, name_in(path), strlen(name_in(path)));
    if (was_there && (flags & O_TRUNC)) record('t', inode, 0, "", 0);
    return fd;
}

static int is_there(int at, const char *path) {
    int before = errno, found = !faccessat(at, path, F_OK, 0);
    errno = before;
    return found;
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
    int was_there = !(flags & O_CREAT) || trace < 0 || is_there(at, path);
    int fd = at == AT_FDCWD ? real_open(path, flags, mode) : real_openat(at, path, flags, mode);
    return opened(fd, was_there, flags);
}

#define MODE_AFTER(flags)                      \
    mode_t mode = 0;                           \
    if ((flags) & O_CREAT) {                   \
        va_list rest;                          \
        va_start(rest, flags);                 \
        mode = (mode_t)va_arg(rest, unsigned); \
        va_end(rest);                          \
    }

int open64(const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return do_open(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return do_open(AT_FDCWD, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return do_open(at, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE_AFTER(flags)
    return do_open(at, path, flags, mode);
}

int unlink(const char *path) {
    int result = real_unlink(path);
    if (trace >= 0 && !result && is_ours(path))
        record('u', 0, 0, name_in(path), strlen(name_in(path)));
    return result;
}

int rename(const char *from, const char *to) {
    char names[2 * PATH_MAX];
    int result = real_rename(from, to);
    if (trace >= 0 && !result && is_ours(from) && is_ours(to)) {
        int length = snprintf(names, sizeof names, "%s%c%s", name_in(from), 0, name_in(to));
        record('r', 0, 0, names, (size_t)length);
    }
    return result;
}
