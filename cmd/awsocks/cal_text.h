#ifndef CMD_AWSOCKS_CAL_TEXT_H
#define CMD_AWSOCKS_CAL_TEXT_H
/* The shell files beside this one, as the Makefile puts them into the program: their lines, each
 * with its newline, then NULL. */
extern const char *const cal_shell[];   /* the functions in the VM */
extern const char *const cal_install[]; /* puts them there */
extern const char *const cal_remove[];  /* and takes them away */
#endif
