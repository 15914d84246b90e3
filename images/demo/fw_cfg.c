/* QEMU's firmware configuration device, by its ports (QEMU, docs/specs/fw_cfg). */
#include "fw_cfg.h"

#include "io.h"
#include "text.h"

enum { SELECTOR = 0x510, DATA = 0x511, SIGNATURE = 0x00, FILE_DIRECTORY = 0x19, MAX_FILES = 1024 };

struct file {
    uint8_t size[4], select[2], reserved[2];
    char name[56];
};

static void read(void *buffer, size_t size)
{
    for (uint8_t *byte = buffer; size--; byte++)
        *byte = in8(DATA);
}

bool fw_cfg_has(const char *name)
{
    uint8_t signature[4], count[4];
    struct file file;

    out16(SELECTOR, SIGNATURE);
    read(signature, sizeof signature);
    if (memcmp(signature, "QEMU", 4))
        return false;
    out16(SELECTOR, FILE_DIRECTORY);
    read(count, sizeof count); /* big-endian, as everything here */
    for (unsigned i = 0; i < (unsigned)(count[2] << 8 | count[3]) && i < MAX_FILES; i++) {
        read(&file, sizeof file);
        file.name[sizeof file.name - 1] = 0;
        if (text_equal(file.name, name))
            return true;
    }
    return false;
}
