#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

int main(void)
{
	struct utsname machine;
	const char *name = getenv("GREETED");

	if (uname(&machine) != 0)
		return 1;
	printf("%s greets %s from %s\n", PACKAGE_STRING, name ? name : "nobody", machine.machine);
	return 0;
}
