/* Android's C library, played by glibc: the functions whose names, arguments or structures differ.
 *
 * With this the libraries of the AAR run on a desktop's JVM, unchanged. forward.txt lists what glibc has under the same
 * name and layout; what is here is the rest. Only what ONNX Runtime imports is covered. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wchar.h>

#define BIONIC(name) __asm__(".symver bionic_" #name ", " #name "@LIBC")

/* --- standard streams: old code addresses an array of three FILEs of 152 bytes, new code the pointer --- */
enum { FILE_BYTES = 152 };
char bionic___sF[3 * FILE_BYTES];
FILE *bionic_stderr;
BIONIC(__sF);
BIONIC(stderr);

__attribute__((constructor)) static void open_streams(void) { bionic_stderr = stderr; }

static FILE *stream(void *file) {
    FILE *standard[] = {stdin, stdout, stderr};
    uintptr_t offset = (uintptr_t)file - (uintptr_t)bionic___sF;
    return offset < sizeof bionic___sF ? standard[offset / FILE_BYTES] : (FILE *)file;
}

int bionic_fflush(void *file) { return fflush(file ? stream(file) : NULL); }
int bionic_fputc(int character, void *file) { return fputc(character, stream(file)); }
int bionic_fputs(const char *text, void *file) { return fputs(text, stream(file)); }
size_t bionic_fwrite(const void *data, size_t size, size_t count, void *file) {
    return fwrite(data, size, count, stream(file));
}
int bionic_getc(void *file) { return getc(stream(file)); }
int bionic_ungetc(int character, void *file) { return ungetc(character, stream(file)); }
wint_t bionic_fputwc(wchar_t character, void *file) { return fputwc(character, stream(file)); }
wint_t bionic_getwc(void *file) { return getwc(stream(file)); }
wint_t bionic_ungetwc(wint_t character, void *file) { return ungetwc(character, stream(file)); }
int bionic_vfprintf(void *file, const char *format, va_list values) { return vfprintf(stream(file), format, values); }
int bionic_fprintf(void *file, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int written = vfprintf(stream(file), format, values);
    va_end(values);
    return written;
}
BIONIC(fflush);
BIONIC(fputc);
BIONIC(fputs);
BIONIC(fwrite);
BIONIC(getc);
BIONIC(ungetc);
BIONIC(fputwc);
BIONIC(getwc);
BIONIC(ungetwc);
BIONIC(vfprintf);
BIONIC(fprintf);

/* --- other names --- */
int __xpg_strerror_r(int, char *, size_t);
int *bionic___errno(void) { return __errno_location(); }
char *bionic___gnu_strerror_r(int number, char *buffer, size_t size) { return strerror_r(number, buffer, size); }
int bionic_strerror_r(int number, char *buffer, size_t size) { return __xpg_strerror_r(number, buffer, size); }
size_t bionic___strlen_chk(const char *text, size_t size) {
    size_t length = strlen(text);
    if (length >= size) abort();
    return length;
}
int bionic___system_property_get(const char *name, char *value) {
    (void)name;
    *value = 0;
    return 0;
}
void bionic_android_set_abort_message(const char *message) { fprintf(stderr, "%s\n", message); }
int bionic___register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library) {
    (void)prepare, (void)parent, (void)child, (void)library;
    return 0;
}
BIONIC(__errno);
BIONIC(__gnu_strerror_r);
BIONIC(strerror_r);
BIONIC(__strlen_chk);
BIONIC(__system_property_get);
BIONIC(android_set_abort_message);
BIONIC(__register_atfork);

/* --- other numbers --- */
long bionic_sysconf(int name) {
    switch (name) {
    case 6: return sysconf(_SC_CLK_TCK);
    case 39:
    case 40: return sysconf(_SC_PAGESIZE);
    case 96: return sysconf(_SC_NPROCESSORS_CONF);
    case 97: return sysconf(_SC_NPROCESSORS_ONLN);
    case 98: return sysconf(_SC_PHYS_PAGES);
    case 99: return sysconf(_SC_AVPHYS_PAGES);
    }
    errno = EINVAL;
    return -1;
}
long bionic_pathconf(const char *path, int name) {
    (void)path, (void)name;
    return 4096;
}
BIONIC(sysconf);
BIONIC(pathconf);

/* --- smaller structures: a signal set is 64 bits, mutexes and the like hold a pointer to glibc's --- */
int bionic_sigfillset(uint64_t *set) {
    *set = UINT64_MAX;
    return 0;
}
int bionic_pthread_sigmask(int how, const uint64_t *set, uint64_t *old) {
    return syscall(SYS_rt_sigprocmask, how, set, old, sizeof *set) ? errno : 0;
}
BIONIC(sigfillset);
BIONIC(pthread_sigmask);

/* The first word says of which kind a mutex is that was initialised statically; the pointer lies in the next words. */
static void **place(void *object) { return (void **)(((uintptr_t)object + 4 + 7) & ~(uintptr_t)7); }

static void *adopt(void *object, void *fresh) {
    void *present = NULL;
    if (__atomic_compare_exchange_n(place(object), &present, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return fresh;
    free(fresh);
    return present;
}
static void *held(void *object) { return __atomic_load_n(place(object), __ATOMIC_ACQUIRE); }
static void *release(void *object) { return __atomic_exchange_n(place(object), NULL, __ATOMIC_ACQ_REL); }

static pthread_mutex_t *mutex(void *object) {
    void *present = held(object);
    if (present) return present;
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    if (*(uint32_t *)object >> 14 == 1) pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_t *fresh = malloc(sizeof *fresh);
    pthread_mutex_init(fresh, &kind);
    return adopt(object, fresh);
}
int bionic_pthread_mutex_init(void *object, const pthread_mutexattr_t *kind) {
    pthread_mutex_t *fresh = malloc(sizeof *fresh);
    *(uint32_t *)object = 0;
    *place(object) = fresh;
    return pthread_mutex_init(fresh, kind);
}
int bionic_pthread_mutex_lock(void *object) { return pthread_mutex_lock(mutex(object)); }
int bionic_pthread_mutex_unlock(void *object) { return pthread_mutex_unlock(mutex(object)); }
int bionic_pthread_mutex_destroy(void *object) {
    pthread_mutex_t *present = release(object);
    if (present) pthread_mutex_destroy(present);
    free(present);
    return 0;
}
BIONIC(pthread_mutex_init);
BIONIC(pthread_mutex_lock);
BIONIC(pthread_mutex_unlock);
BIONIC(pthread_mutex_destroy);

static pthread_cond_t *condition(void *object) {
    void *present = held(object);
    if (present) return present;
    pthread_cond_t *fresh = malloc(sizeof *fresh);
    pthread_cond_init(fresh, NULL);
    return adopt(object, fresh);
}
int bionic_pthread_cond_wait(void *object, void *lock) { return pthread_cond_wait(condition(object), mutex(lock)); }
int bionic_pthread_cond_timedwait(void *object, void *lock, const struct timespec *until) {
    return pthread_cond_timedwait(condition(object), mutex(lock), until);
}
int bionic_pthread_cond_signal(void *object) { return pthread_cond_signal(condition(object)); }
int bionic_pthread_cond_broadcast(void *object) { return pthread_cond_broadcast(condition(object)); }
int bionic_pthread_cond_destroy(void *object) {
    pthread_cond_t *present = release(object);
    if (present) pthread_cond_destroy(present);
    free(present);
    return 0;
}
BIONIC(pthread_cond_wait);
BIONIC(pthread_cond_timedwait);
BIONIC(pthread_cond_signal);
BIONIC(pthread_cond_broadcast);
BIONIC(pthread_cond_destroy);

/* Nobody imports pthread_attr_destroy: the few that are made are kept. */
int bionic_pthread_attr_init(void *object) {
    pthread_attr_t *fresh = malloc(sizeof *fresh);
    *place(object) = fresh;
    return pthread_attr_init(fresh);
}
int bionic_pthread_attr_setstacksize(void *object, size_t bytes) {
    return pthread_attr_setstacksize(held(object), bytes);
}
int bionic_pthread_create(pthread_t *thread, void *object, void *(*start)(void *), void *argument) {
    return pthread_create(thread, object ? held(object) : NULL, start, argument);
}
BIONIC(pthread_attr_init);
BIONIC(pthread_attr_setstacksize);
BIONIC(pthread_create);
