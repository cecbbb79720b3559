#include <stdint.h>
#include <string.h>

int main(void)
{
	uint32_t number = 0x01020304, copy;
	unsigned char bytes[sizeof number];

	memcpy(bytes, &number, sizeof number);
	memcpy(&copy, bytes, sizeof copy);
	return copy == number ? 0 : 1;
}
