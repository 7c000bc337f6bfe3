/* A QEMU plugin that counts the guest's instructions. Whenever the guest asks for its parent's process id, which nothing
 * else does, the count so far becomes a line of a file.
 *
 * qemu-aarch64 -plugin libcount.so,out=FILE ...   The declarations are those of QEMU 7.2's qemu-plugin.h, API version 1:
 * Debian does not package that header. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_tb; /* a translation block: instructions that always run one after the other */
typedef void (*translated)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*called)(uint64_t id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t, uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated callback);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
enum { ADD_U64 };
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *counter, uint64_t by);
extern void qemu_plugin_register_vcpu_syscall_cb(uint64_t id, called callback);

enum { GETPPID = 173 }; /* of arm64 */
int qemu_plugin_version = 1;
static uint64_t instructions;
static char path[4096];

static void count_block(uint64_t id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void write_count(uint64_t id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                        uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    FILE *file = number == GETPPID ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%" PRIu64 "\n", instructions);
        fclose(file);
    }
}

int qemu_plugin_install(uint64_t id, const void *info, int count, char **arguments) {
    (void)info;
    if (count != 1 || strncmp(arguments[0], "out=", 4) != 0 || strlen(arguments[0]) >= sizeof path) return 1;
    strcpy(path, arguments[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
    qemu_plugin_register_vcpu_syscall_cb(id, write_count);
    return 0;
}
