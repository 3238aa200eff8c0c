/* Preloaded into a program that writes files and syncs none: whatever it has written is synced
   before it is closed, and told on standard error. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int fclose(FILE *file)
{
    static int (*original)(FILE *);
    struct stat found;
    int descriptor = fileno(file);

    if (original == NULL)
        original = dlsym(RTLD_NEXT, "fclose");
    if (descriptor >= 0 && (fcntl(descriptor, F_GETFL) & O_ACCMODE) != O_RDONLY
        && fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode)
        && fflush(file) == 0 && fsync(descriptor) == 0)
        dprintf(STDERR_FILENO, "synced\n");
    return original(file);
}
