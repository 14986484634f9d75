package control

// Unsupported are the rows of the README's table of what answers 501.
func Unsupported() []string {
	rows := make([]string, len(refused))
	for i, part := range refused {
		rows[i] = "| " + part.what + " | " + part.why + " |"
	}
	return rows
}
