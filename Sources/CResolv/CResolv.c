#include "CResolv.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <netdb.h>
#include <resolv.h>
#include <string.h>

int cresolv_lookup(const char *name, struct cresolv_srv *records, int room) {
    struct __res_state state;
    memset(&state, 0, sizeof state);
    if (res_ninit(&state) != 0) return -1;
    unsigned char answer[65536];
    int length = res_nsearch(&state, name, ns_c_in, ns_t_srv, answer, sizeof answer);
    int error = state.res_h_errno;
    res_nclose(&state);
    if (length < 0) return error == HOST_NOT_FOUND || error == NO_DATA ? CRESOLV_NO_SUCH_NAME : -1;
    ns_msg message;
    if (ns_initparse(answer, length, &message) != 0) return -1;
    int count = 0;
    for (int index = 0; index < ns_msg_count(message, ns_s_an); index++) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, index, &record) != 0) return -1;
        /* Priority, weight and port of two bytes each, then a name of at least one. */
        if (ns_rr_type(record) != ns_t_srv || ns_rr_rdlen(record) < 7) continue;
        const unsigned char *data = ns_rr_rdata(record);
        struct cresolv_srv found = {ns_get16(data), ns_get16(data + 2), ns_get16(data + 4), ""};
        if (dn_expand(ns_msg_base(message), ns_msg_end(message), data + 6, found.target, sizeof found.target) < 0)
            return -1;
        if (count < room) records[count] = found;
        count++;
    }
    return count;
}
