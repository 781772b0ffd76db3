/* Loaded into a server before libc: its wall clock is wrong by so much, and its disk takes so much longer to sync, as two numbers in a mapped
 * file say, which the harness changes while the server runs. Everything else is libc's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t clock_ms;
    volatile int64_t sync_ms;
};

static struct control *control;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

__attribute__((constructor)) static void start(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    const char *path = getenv("CHAOS_CONTROL");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) abort(); /* a fault that cannot be injected must not look like one that was survived */
    void *mapped = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) abort();
    close(file);
    control = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = real_clock_gettime(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && control) {
        int64_t nanoseconds = now->tv_nsec + (control->clock_ms % 1000) * 1000000;
        now->tv_sec += control->clock_ms / 1000;
        if (nanoseconds < 0) now->tv_sec--, nanoseconds += 1000000000;
        if (nanoseconds >= 1000000000) now->tv_sec++, nanoseconds -= 1000000000;
        now->tv_nsec = nanoseconds;
    }
    return result;
}

static void wait_for_disk(void) {
    if (control && control->sync_ms > 0) usleep(control->sync_ms * 1000);
}

int fdatasync(int file) {
    wait_for_disk();
    return real_fdatasync(file);
}

int fsync(int file) {
    wait_for_disk();
    return real_fsync(file);
}
