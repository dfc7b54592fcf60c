/* What Swift's Glibc module leaves out of the C library: malloc_trim(3). */
#include <malloc.h>
