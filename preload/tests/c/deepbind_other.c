/* What the extension opens. */
#include <stdlib.h>

void take(void *block) { free(block); }
