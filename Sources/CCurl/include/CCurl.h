#ifndef SIDEKICK_CCURL_H
#define SIDEKICK_CCURL_H

// Swift cannot call C's variadic functions. These are libcurl's, one for each kind of argument, and nothing else.

#include <curl/curl.h>

// And glibc's mallopt and malloc_trim, which Swift's module of glibc leaves out.
#include <malloc.h>

CURLcode ccurl_set_long(CURL *easy, CURLoption option, long value);
// CURLOPT_QUICK_EXIT (libcurl 7.87), which older headers do not have and older libraries refuse.
enum { CCURL_QUICK_EXIT = 322 };
CURLcode ccurl_set_quick_exit(CURL *easy);
CURLcode ccurl_set_pointer(CURL *easy, CURLoption option, const void *value);
CURLcode ccurl_set_string(CURL *easy, CURLoption option, const char *value);
CURLcode ccurl_set_write(CURL *easy, size_t (*function)(char *, size_t, size_t, void *), void *context);
CURLcode ccurl_set_header(CURL *easy, size_t (*function)(char *, size_t, size_t, void *), void *context);
CURLcode ccurl_set_sockopt(CURL *easy, int (*function)(void *, curl_socket_t, curlsocktype), void *context);
CURLcode ccurl_get_long(CURL *easy, CURLINFO info, long *value);

// Has the errno kept with which the system gave no socket: libcurl alone reports a server that cannot be connected to.
CURLcode ccurl_keep_socket_error(CURL *easy, int *error);

// What a finished transfer ended with. `done` is 0 for messages that say something else.
typedef struct {
    CURL *easy;
    CURLcode result;
    int done;
} ccurl_message;

// The next message of the multi handle; `easy` is NULL when there is none.
ccurl_message ccurl_next_message(CURLM *multi);

#endif
