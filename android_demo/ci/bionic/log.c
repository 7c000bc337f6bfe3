/* Android's log, on stderr. */
#include <stdarg.h>
#include <stdio.h>

int __android_log_vprint(int priority, const char *tag, const char *format, va_list values) {
    fprintf(stderr, "%d %s: ", priority, tag);
    int written = vfprintf(stderr, format, values);
    fputc('\n', stderr);
    return written;
}
int __android_log_print(int priority, const char *tag, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int written = __android_log_vprint(priority, tag, format, values);
    va_end(values);
    return written;
}
int __android_log_write(int priority, const char *tag, const char *text) {
    return __android_log_print(priority, tag, "%s", text);
}
