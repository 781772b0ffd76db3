/*
 * A file system that forgets, for LD_PRELOAD: keeps apart what a process made durable, so that after its SIGKILL whoever
 * watches can take the rest away, as a power cut would. (A killed process alone loses nothing: the page cache outlives it.)
 *
 *   LOSSY_ROOT     the folder that is watched; everything in it when the process starts is durable
 *   LOSSY_DURABLE  an empty folder, for what is durable of it:
 *                    ids      "inode id" a line: each file that appears gets an id, since inodes are used again
 *                    f<id>    a file's contents and length at its last sync
 *                    d<n>     a folder at its last sync: its path, then "id name" a line
 *                    fails    whoever watches puts it there: the calls that fail from now on, an error number, and perhaps "once";
 *                             or the calls that take longer, by how many milliseconds, and "slow"
 *   LOSSY_SYNC     "forget": syncs succeed and make nothing durable
 *
 * Writes are interrupted and short as POSIX allows: each third ends with EINTR before its first byte, of the others each second takes
 * half of its bytes.
 *
 * The real files always hold everything, so the process sees what it wrote. Only names of regular files are kept apart; folders
 * count as durable at once. Writes through mmap are not seen. Nothing here is fast.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 65536
#define FOLDERS_MAX 64

struct file {
    ino_t inode;
    long id;
    off_t dirty_from, dirty_to; /* written since the last sync; empty when equal */
};

static struct file files[FILES_MAX];
static long file_count, next_id = 1;
static char folders[FOLDERS_MAX][PATH_MAX];
static int folder_count;
static char root[PATH_MAX], durable[PATH_MAX];
static int forgets;
static unsigned long writes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static void fail(const char *what) {
    fprintf(stderr, "lossy_disk: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static int is_watched(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* The path behind a descriptor, when it is watched. */
static int watched_path(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_watched(path);
}

static struct file *find(ino_t inode) {
    for (long i = file_count; i-- > 0;)
        if (files[i].inode == inode)
            return &files[i];
    return NULL;
}

/* A file that appears. */
static struct file *add(ino_t inode) {
    if (file_count == FILES_MAX)
        fail("too many files");
    struct file *file = &files[file_count++];
    *file = (struct file){.inode = inode, .id = next_id++};
    char path[PATH_MAX + 8], line[64];
    snprintf(path, sizeof path, "%s/ids", durable);
    int fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int length = snprintf(line, sizeof line, "%lu %ld\n", (unsigned long)inode, file->id);
    if (fd < 0 || real_write(fd, line, length) != length)
        fail(path);
    close(fd);
    return file;
}

/* A file's last name goes: its inode may be used again. */
static void drop(const char *path) {
    struct stat stat;
    if (is_watched(path) && !lstat(path, &stat) && S_ISREG(stat.st_mode) && stat.st_nlink == 1) {
        struct file *file = find(stat.st_ino);
        if (file)
            file->inode = 0;
    }
}

/* How much longer this thread's call takes, in microseconds. */
static __thread useconds_t delay;

/* Whether calls of this kind on what is watched fail; the error is in errno then. */
static int fails(const char *kind) {
    char path[PATH_MAX + 8], text[128];
    snprintf(path, sizeof path, "%s/fails", durable);
    if (access(path, F_OK))
        return 0;
    int fd = real_open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return 0;
    text[length] = 0;
    char kinds[64], when[8] = "";
    int number;
    if (sscanf(text, "%63s %d %7s", kinds, &number, when) < 2)
        fail(path);
    if (!strstr(kinds, kind))
        return 0;
    if (!strcmp(when, "slow")) {
        delay = (useconds_t)number * 1000;
        return 0;
    }
    if (!strcmp(when, "once"))
        real_unlink(path);
    errno = number;
    return 1;
}

static int path_fails(const char *path, const char *kind) {
    if (!*root || !is_watched(path))
        return 0;
    pthread_mutex_lock(&lock);
    delay = 0;
    int failed = fails(kind), error = errno;
    pthread_mutex_unlock(&lock);
    /* A slow call holds up nobody else. */
    if (delay)
        usleep(delay);
    errno = error;
    return failed;
}

static int fd_fails(int fd, const char *kind) {
    char path[PATH_MAX];
    return *root && watched_path(fd, path) && path_fails(path, kind);
}

static void touch(struct file *file, off_t from, off_t to) {
    if (file->dirty_from == file->dirty_to) {
        file->dirty_from = from;
        file->dirty_to = to;
    } else {
        if (from < file->dirty_from)
            file->dirty_from = from;
        if (to > file->dirty_to)
            file->dirty_to = to;
    }
}

static struct file *watched_file(int fd, struct stat *stat) {
    char path[PATH_MAX];
    if (!*root || fd <= 2 || fstat(fd, stat) || !S_ISREG(stat->st_mode) || !watched_path(fd, path))
        return NULL;
    struct file *file = find(stat->st_ino);
    return file ? file : add(stat->st_ino);
}

/* Contents and length become durable. */
static void keep_file(int fd, struct file *file, off_t length) {
    char path[PATH_MAX + 32], buffer[1 << 16], source[64];
    snprintf(path, sizeof path, "%s/f%ld", durable, file->id);
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    int to = real_open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), from = real_open(source, O_RDONLY | O_CLOEXEC);
    if (to < 0 || from < 0)
        fail(path);
    off_t at = file->dirty_from, end = file->dirty_to < length ? file->dirty_to : length;
    while (at < end) {
        size_t wanted = end - at < (off_t)sizeof buffer ? (size_t)(end - at) : sizeof buffer;
        ssize_t count = pread(from, buffer, wanted, at);
        if (count <= 0 || real_pwrite(to, buffer, count, at) != count)
            fail(path);
        at += count;
    }
    if (real_ftruncate(to, length))
        fail(path);
    close(to);
    close(from);
    file->dirty_from = file->dirty_to = 0;
}

/* Names become durable. */
static void keep_folder(const char *path) {
    int number = 0;
    while (number < folder_count && strcmp(folders[number], path))
        number++;
    if (number == FOLDERS_MAX)
        fail("too many folders");
    if (number == folder_count)
        strcpy(folders[folder_count++], path);
    char name[PATH_MAX + 32], temporary[PATH_MAX + 40], line[PATH_MAX + 32];
    snprintf(name, sizeof name, "%s/d%d", durable, number);
    snprintf(temporary, sizeof temporary, "%s.tmp", name);
    int to = real_open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    DIR *folder = opendir(path);
    if (to < 0 || !folder)
        fail(path);
    int length = snprintf(line, sizeof line, "%s\n", path);
    if (real_write(to, line, length) != length)
        fail(name);
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat stat;
        if (fstatat(dirfd(folder), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) || !S_ISREG(stat.st_mode))
            continue;
        struct file *file = find(stat.st_ino);
        if (!file)
            file = add(stat.st_ino);
        length = snprintf(line, sizeof line, "%ld %s\n", file->id, entry->d_name);
        if (real_write(to, line, length) != length)
            fail(name);
    }
    closedir(folder);
    close(to);
    if (real_rename(temporary, name))
        fail(name);
}

/* What is there at the start is durable. */
static int keep_entry(const char *path, const struct stat *stat, int kind, struct FTW *at) {
    (void)at;
    if (kind == FTW_F && S_ISREG(stat->st_mode)) {
        int fd = real_open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            fail(path);
        struct file *file = add(stat->st_ino);
        touch(file, 0, stat->st_size);
        keep_file(fd, file, stat->st_size);
        close(fd);
    } else if (kind == FTW_DP) {
        keep_folder(path);
    }
    return 0;
}

/* Libraries may open files before it is this one's turn to start. */
static void resolve(void) {
    if (real_open)
        return;
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_open = dlsym(RTLD_NEXT, "open64");
}

__attribute__((constructor)) static void start(void) {
    resolve();
    const char *watched = getenv("LOSSY_ROOT"), *kept = getenv("LOSSY_DURABLE"), *sync = getenv("LOSSY_SYNC");
    if (!watched || !kept || !realpath(watched, root) || !realpath(kept, durable))
        fail("LOSSY_ROOT or LOSSY_DURABLE");
    forgets = sync && !strcmp(sync, "forget");
    if (nftw(root, keep_entry, 16, FTW_DEPTH | FTW_PHYS))
        fail(root);
}

static int opened(int fd, int flags) {
    struct stat stat;
    if (fd >= 0 && flags & (O_CREAT | O_TRUNC)) {
        pthread_mutex_lock(&lock);
        struct file *file = watched_file(fd, &stat);
        if (file && flags & O_TRUNC)
            touch(file, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

#define MODE(flags, mode)                                                                                                          \
    mode_t mode = 0;                                                                                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                                           \
        va_list rest;                                                                                                              \
        va_start(rest, flags);                                                                                                     \
        mode = va_arg(rest, mode_t);                                                                                               \
        va_end(rest);                                                                                                              \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    resolve();
    if (flags & (O_WRONLY | O_RDWR) && path_fails(path, "open"))
        return -1;
    return opened(real_open(path, flags, mode), flags);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    resolve();
    if (flags & (O_WRONLY | O_RDWR) && path_fails(path, "open"))
        return -1;
    return opened(real_open(path, flags | O_LARGEFILE, mode), flags);
}

static ssize_t written(int fd, ssize_t count, off_t at) {
    struct stat stat;
    if (count > 0) {
        struct file *file = watched_file(fd, &stat);
        if (file)
            touch(file, at < 0 ? stat.st_size - count : at, at < 0 ? stat.st_size : at + count);
    }
    return count;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    resolve();
    if (fd_fails(fd, "write"))
        return -1;
    pthread_mutex_lock(&lock);
    unsigned long number = ++writes;
    ssize_t done = -1;
    if (number % 3) {
        size_t taken = number % 2 && count > 1 ? count / 2 : count;
        done = written(fd, real_pwrite(fd, bytes, taken, at), at);
    }
    pthread_mutex_unlock(&lock);
    if (number % 3 == 0)
        errno = EINTR;
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return pwrite(fd, bytes, count, at); }

/* Only appends are expected, and standard output is never watched. */
ssize_t write(int fd, const void *bytes, size_t count) {
    resolve();
    if (fd <= 2 || !*root)
        return real_write(fd, bytes, count);
    if (fd_fails(fd, "write"))
        return -1;
    pthread_mutex_lock(&lock);
    ssize_t done = written(fd, real_write(fd, bytes, count), -1);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) {
    resolve();
    struct stat before;
    pthread_mutex_lock(&lock);
    struct file *file = watched_file(fd, &before);
    int result = file && fails("truncate") ? -1 : real_ftruncate(fd, length);
    if (file && !result && length > before.st_size)
        touch(file, before.st_size, length);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

static int sync_to(int fd, int (**otherwise)(int)) {
    resolve();
    struct stat stat;
    char path[PATH_MAX];
    if (!*root || fstat(fd, &stat) || !watched_path(fd, path))
        return (*otherwise)(fd);
    if (path_fails(path, "sync"))
        return -1;
    pthread_mutex_lock(&lock);
    if (!forgets && S_ISREG(stat.st_mode)) {
        struct file *file = find(stat.st_ino);
        keep_file(fd, file ? file : add(stat.st_ino), stat.st_size);
    } else if (!forgets && S_ISDIR(stat.st_mode)) {
        keep_folder(path);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return sync_to(fd, &real_fsync); }

int fdatasync(int fd) { return sync_to(fd, &real_fdatasync); }

int rename(const char *from, const char *to) {
    resolve();
    if (path_fails(to, "rename"))
        return -1;
    pthread_mutex_lock(&lock);
    drop(to);
    int result = real_rename(from, to);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    resolve();
    if (path_fails(path, "unlink"))
        return -1;
    pthread_mutex_lock(&lock);
    drop(path);
    int result = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return result;
}
