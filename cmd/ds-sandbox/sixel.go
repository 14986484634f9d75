package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"slices"
)

// sixelColours is how many colours a picture has as sixels; every terminal has as many.
const sixelColours = 255

// writeSixel writes a picture as sixels, on white, no wider than width pixels (0: as wide as it is).
func writeSixel(b *bytes.Buffer, picture image.Image, width int) {
	flat := flatten(picture, width)
	palette, indexes := quantise(flat)
	w, h := flat.Rect.Dx(), flat.Rect.Dy()
	fmt.Fprintf(b, "\x1bP0;1q\"1;1;%d;%d", w, h)
	for i, c := range palette {
		fmt.Fprintf(b, "#%d;2;%d;%d;%d", i, int(c.R)*100/255, int(c.G)*100/255, int(c.B)*100/255)
	}
	used := make([]bool, len(palette))
	row := make([]byte, w)
	for top := 0; top < h; top += 6 { // a band of six rows, one colour after the other
		clear(used)
		band := indexes[top*w : min(top+6, h)*w]
		for _, i := range band {
			used[i] = true
		}
		for colour := range palette {
			if !used[colour] {
				continue
			}
			clear(row)
			for at, i := range band {
				if int(i) == colour {
					row[at%w] |= 1 << (at / w)
				}
			}
			fmt.Fprintf(b, "#%d", colour)
			writeRuns(b, row)
			b.WriteByte('$')
		}
		b.WriteByte('-')
	}
	b.WriteString("\x1b\\")
}

// writeRuns writes a row of sixels, repeats as a count.
func writeRuns(b *bytes.Buffer, row []byte) {
	for i := 0; i < len(row); {
		n := 1
		for i+n < len(row) && row[i+n] == row[i] {
			n++
		}
		sixel := '?' + row[i]
		if n > 3 {
			fmt.Fprintf(b, "!%d%c", n, sixel)
		} else {
			b.Write(bytes.Repeat([]byte{sixel}, n))
		}
		i += n
	}
}

// flatten puts a picture on white, made smaller by a whole factor until it fits.
func flatten(picture image.Image, width int) *image.RGBA {
	bounds := picture.Bounds()
	full := image.NewRGBA(image.Rect(0, 0, bounds.Dx(), bounds.Dy()))
	draw.Draw(full, full.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(full, full.Rect, picture, bounds.Min, draw.Over)
	factor := 1
	for width > 0 && bounds.Dx()/factor > width {
		factor++
	}
	if factor == 1 {
		return full
	}
	small := image.NewRGBA(image.Rect(0, 0, max(1, bounds.Dx()/factor), max(1, bounds.Dy()/factor)))
	for y := range small.Rect.Dy() {
		for x := range small.Rect.Dx() {
			var sum [3]int
			n := 0
			for dy := range factor {
				for dx := range factor {
					if p := image.Pt(x*factor+dx, y*factor+dy); p.In(full.Rect) {
						c := full.RGBAAt(p.X, p.Y)
						sum[0], sum[1], sum[2], n = sum[0]+int(c.R), sum[1]+int(c.G), sum[2]+int(c.B), n+1
					}
				}
			}
			small.SetRGBA(x, y, color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255}) //nolint:gosec // means of bytes
		}
	}
	return small
}

// bucket is a colour with five bits for each part.
func bucket(c color.RGBA) int { return int(c.R>>3)<<10 | int(c.G>>3)<<5 | int(c.B>>3) }

// quantise gives each pixel one of the picture's most frequent colours, as an index.
func quantise(picture *image.RGBA) ([]color.RGBA, []uint8) {
	w, h := picture.Rect.Dx(), picture.Rect.Dy()
	counts, firsts := make([]int, 1<<15), make([]color.RGBA, 1<<15)
	for y := range h {
		for x := range w {
			c := picture.RGBAAt(x, y)
			i := bucket(c)
			if counts[i] == 0 {
				firsts[i] = c
			}
			counts[i]++
		}
	}
	var order []int
	for i, n := range counts {
		if n > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return counts[b] - counts[a] })
	var palette []color.RGBA
	nearest := make([]uint8, 1<<15)
	for place, i := range order {
		if place < sixelColours {
			palette = append(palette, firsts[i])
			nearest[i] = uint8(place) //nolint:gosec // below 255
			continue
		}
		nearest[i] = closest(palette, firsts[i])
	}
	indexes := make([]uint8, 0, w*h)
	for y := range h {
		for x := range w {
			indexes = append(indexes, nearest[bucket(picture.RGBAAt(x, y))])
		}
	}
	return palette, indexes
}

func closest(palette []color.RGBA, c color.RGBA) (best uint8) {
	least := 1 << 30
	for i, p := range palette {
		r, g, b := int(p.R)-int(c.R), int(p.G)-int(c.G), int(p.B)-int(c.B)
		if d := r*r + g*g + b*b; d < least {
			least, best = d, uint8(i) //nolint:gosec // below 255
		}
	}
	return best
}
