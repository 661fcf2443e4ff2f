// Loads each library that it is given and has it check itself.
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **libraries) {
    for (int i = 1; i < count; i++) {
        void *library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
        int (*check)(void) = library ? (int (*)(void))dlsym(library, "linking_check") : 0;
        if (!check) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
        if (check()) {
            fprintf(stderr, "thread-locals are shared\n");
            return 1;
        }
    }
    puts("ok");
    return 0;
}
