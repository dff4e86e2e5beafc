/* A disk that tells and that fails: an LD_PRELOAD shim over the calls by which SQLite and Python write files.

   Only files below DISK_ROOT are its business. With DISK_LOG every create, write, truncate, fsync, rename, unlink and
   mkdir is appended to that file, in the order in which it happened. A rule (DISK_RULE, or disk_rule() at run time) is
   "CALL NTH EVERY WHAT": CALL is write, fsync or any; from the NTH call on every EVERYth (0: that one only) is treated;
   WHAT is an errno's number, "kill" (SIGKILL before the call) or "slow:MICROSECONDS". With DISK_SWITCH the rule holds
   only while that file exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 4096 };
static char *names[FILES];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *switch_path;
static size_t root_length;
static int log_fd = -1;
static char rule_call[8] = "", rule_what[32] = "";
static long rule_nth, rule_every, calls;

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void disk_rule(const char *rule) {
    pthread_mutex_lock(&gate);
    calls = 0;
    rule_call[0] = 0;
    if (rule && *rule) sscanf(rule, "%7s %ld %ld %31s", rule_call, &rule_nth, &rule_every, rule_what);
    pthread_mutex_unlock(&gate);
}

long disk_calls(void) { return calls; }

__attribute__((constructor)) static void begin(void) {
    root = getenv("DISK_ROOT");
    root_length = root ? strlen(root) : 0;
    switch_path = getenv("DISK_SWITCH");
    const char *path = getenv("DISK_LOG");
    if (path) {
        __typeof__(&open) real = (__typeof__(&open))dlsym(RTLD_NEXT, "open");
        log_fd = real(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    disk_rule(getenv("DISK_RULE"));
}

static int ours(const char *path) { return path && root && strncmp(path, root, root_length) == 0; }

static const char *name_of(int fd) { return fd >= 0 && fd < FILES ? names[fd] : NULL; }

static void tell(char op, const char *path, uint64_t at, const void *data, uint32_t length) {
    if (log_fd < 0) return;
    __typeof__(&write) real = (__typeof__(&write))dlsym(RTLD_NEXT, "write");
    uint32_t name_length = (uint32_t)strlen(path);
    size_t size = 17 + name_length + length;
    char *record = malloc(size);
    record[0] = op;
    memcpy(record + 1, &name_length, 4);
    memcpy(record + 5, &at, 8);
    memcpy(record + 13, &length, 4);
    memcpy(record + 17, path, name_length);
    if (length) memcpy(record + 17 + name_length, data, length);
    if (real(log_fd, record, size) != (ssize_t)size) abort();
    free(record);
}

/* What the rule has in store for this call: 0, or -1 with errno set. */
static int fate(const char *call) {
    if (rule_call[0] && strcmp(rule_call, "any") && strcmp(rule_call, call)) return 0;
    calls++;
    if (!rule_call[0]) return 0;
    if (calls < rule_nth || (rule_every ? (calls - rule_nth) % rule_every : calls != rule_nth)) return 0;
    if (switch_path && access(switch_path, F_OK)) return 0;
    if (!strcmp(rule_what, "kill")) kill(getpid(), SIGKILL);
    if (!strncmp(rule_what, "slow:", 5)) { usleep((useconds_t)atol(rule_what + 5)); return 0; }
    errno = atoi(rule_what);
    return -1;
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd < 0 || fd >= FILES) return fd;
    free(names[fd]);
    names[fd] = strdup(path);
    if ((flags & O_CREAT) && !existed) tell('o', path, 0, NULL, 0);
    else if (flags & O_TRUNC) tell('t', path, 0, NULL, 0);
    return fd;
}

#define OPENER(name)                                                                                                   \
    int name(const char *path, int flags, ...) {                                                                       \
        REAL(name);                                                                                                    \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;                                      \
        va_end(list);                                                                                                  \
        if (!ours(path)) return real(path, flags, mode);                                                               \
        pthread_mutex_lock(&gate);                                                                                     \
        int existed = access(path, F_OK) == 0;                                                                         \
        int fd = opened(real(path, flags, mode), path, flags, existed);                                                \
        pthread_mutex_unlock(&gate);                                                                                   \
        return fd;                                                                                                     \
    }
OPENER(open)
OPENER(open64)

int close(int fd) {
    REAL(close);
    if (name_of(fd)) {
        pthread_mutex_lock(&gate);
        free(names[fd]);
        names[fd] = NULL;
        pthread_mutex_unlock(&gate);
    }
    return real(fd);
}

static ssize_t written(ssize_t done, const char *path, off_t at, const void *data) {
    if (done > 0) tell('w', path, (uint64_t)at, data, (uint32_t)done);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    const char *path = name_of(fd);
    if (!path) return real(fd, data, size);
    pthread_mutex_lock(&gate);
    struct stat found;
    off_t at = (fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &found) ? found.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t done = fate("write") ? -1 : written(real(fd, data, size), path, at, data);
    pthread_mutex_unlock(&gate);
    return done;
}

#define PWRITER(name, offset)                                                                                          \
    ssize_t name(int fd, const void *data, size_t size, offset at) {                                                   \
        REAL(name);                                                                                                    \
        const char *path = name_of(fd);                                                                                \
        if (!path) return real(fd, data, size, at);                                                                    \
        pthread_mutex_lock(&gate);                                                                                     \
        ssize_t done = fate("write") ? -1 : written(real(fd, data, size, at), path, at, data);                         \
        pthread_mutex_unlock(&gate);                                                                                   \
        return done;                                                                                                   \
    }
PWRITER(pwrite, off_t)
PWRITER(pwrite64, off64_t)

#define TRUNCATER(name, offset)                                                                                        \
    int name(int fd, offset size) {                                                                                    \
        REAL(name);                                                                                                    \
        const char *path = name_of(fd);                                                                                \
        if (!path) return real(fd, size);                                                                              \
        pthread_mutex_lock(&gate);                                                                                     \
        int failed = real(fd, size);                                                                                   \
        if (!failed) tell('t', path, (uint64_t)size, NULL, 0);                                                         \
        pthread_mutex_unlock(&gate);                                                                                   \
        return failed;                                                                                                 \
    }
TRUNCATER(ftruncate, off_t)
TRUNCATER(ftruncate64, off64_t)

#define SYNCER(name)                                                                                                   \
    int name(int fd) {                                                                                                 \
        REAL(name);                                                                                                    \
        const char *path = name_of(fd);                                                                                \
        if (!path) return real(fd);                                                                                    \
        pthread_mutex_lock(&gate);                                                                                     \
        int failed = fate("fsync") ? -1 : real(fd);                                                                    \
        if (!failed) tell('s', path, 0, NULL, 0);                                                                      \
        pthread_mutex_unlock(&gate);                                                                                   \
        return failed;                                                                                                 \
    }
SYNCER(fsync)
SYNCER(fdatasync)

int unlink(const char *path) {
    REAL(unlink);
    if (!ours(path)) return real(path);
    pthread_mutex_lock(&gate);
    int failed = real(path);
    if (!failed) tell('u', path, 0, NULL, 0);
    pthread_mutex_unlock(&gate);
    return failed;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (!ours(from)) return real(from, to);
    pthread_mutex_lock(&gate);
    int failed = real(from, to);
    if (!failed) tell('r', from, 0, to, (uint32_t)strlen(to));
    pthread_mutex_unlock(&gate);
    return failed;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (!ours(path)) return real(path, mode);
    pthread_mutex_lock(&gate);
    int failed = real(path, mode);
    if (!failed) tell('m', path, 0, NULL, 0);
    pthread_mutex_unlock(&gate);
    return failed;
}
