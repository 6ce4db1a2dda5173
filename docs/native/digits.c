/* Says which digit a picture shows, dark on light or light on dark: ./digits picture.pgm (P5, 28 x 28 pixels).

   In Python, with a network that has learned from pixels between 0 and 1, as those of vg.data.load("mnist"):
       whole = vg.nn.Sequential(network, vg.nn.Softmax())
       vg.export_native(whole, np.zeros((1, 1, 28, 28), np.float32), "network.o")
   Then:
       cc -std=c99 digits.c network.o -o digits */
#include <ctype.h>
#include <stdio.h>

#include "network.h"

#define SIDE 28

/* The next number in the head of a PGM file, or -1; a comment goes from # to the end of its line. */
static int number(FILE *file) {
    int c = getc(file), n = 0;
    while (isspace(c) || c == '#') {
        if (c == '#') while (c != '\n' && c != EOF) c = getc(file);
        else c = getc(file);
    }
    if (!isdigit(c)) return -1;
    for (; isdigit(c) && n < 1000; c = getc(file)) n = 10 * n + c - '0';
    return n;
}

/* Reads a picture as light on dark, from 0 to 1; returns what is wrong with it, or a null pointer. */
static const char *read_picture(FILE *file, float *x) {
    unsigned char pixels[SIDE * SIDE];
    int white = 0, edge = 0;
    if (!file) return "it cannot be opened";
    if (getc(file) != 'P' || getc(file) != '5') return "it does not begin with P5, as a PGM file of bytes does";
    if (number(file) != SIDE || number(file) != SIDE) return "it is not 28 x 28 pixels";
    if ((white = number(file)) < 1 || white > 255) return "its white is not from 1 to 255";
    if (fread(pixels, 1, sizeof pixels, file) != sizeof pixels) return "it ends before its last pixel";
    for (int i = 0; i < SIDE; i++)
        edge += pixels[i] + pixels[SIDE * (SIDE - 1) + i] + pixels[SIDE * i] + pixels[SIDE * i + SIDE - 1];
    for (int i = 0; i < SIDE * SIDE; i++) {
        int light = edge > 4 * SIDE * white / 2 ? white - pixels[i] : pixels[i]; /* the edge is paper */
        x[i] = (float) light / (float) white;
    }
    return NULL;
}

int main(int count, char **words) {
    float x[NETWORK_X_SIZE], y[NETWORK_Y_SIZE];
    const char *wrong = count == 2 ? read_picture(fopen(words[1], "rb"), x) : "usage: digits picture.pgm";
    if (wrong) {
        fprintf(stderr, "%s%s%s\n", count == 2 ? words[1] : "", count == 2 ? ": " : "", wrong);
        return 1;
    }
    network(x, y);
    int digit = 0;
    for (int i = 1; i < NETWORK_Y_SIZE; i++)
        if (y[i] > y[digit]) digit = i;
    printf("%d\n", digit);
    for (int i = 0; i < NETWORK_Y_SIZE; i++) printf("%d %.4f\n", i, y[i]);
    return 0;
}
