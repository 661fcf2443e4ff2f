package main

// selectEight: eight senders, each with an unbuffered channel of its own, and
// one receiver that selects over all of them.
func selectEight(ops int) {
	warmed("select8", ops/8*8, func(ops int) {
		each := ops / 8
		var in [8]chan int
		for s := range in {
			in[s] = make(chan int)
			go func() {
				for i := range each {
					in[s] <- i
				}
			}()
		}
		done := make(chan int)
		go func() {
			sum := 0
			for range each * 8 {
				var i int
				select {
				case i = <-in[0]:
				case i = <-in[1]:
				case i = <-in[2]:
				case i = <-in[3]:
				case i = <-in[4]:
				case i = <-in[5]:
				case i = <-in[6]:
				case i = <-in[7]:
				}
				sum += i
			}
			done <- sum
		}()
		expect(<-done, 8*sumBelow(each))
	})
}

// selectShared: n goroutines, each with an unbuffered channel of its own,
// select over that and over one that they all share. One goroutine sends to
// each in turn. In the end the shared channel closes, and all must go.
func selectShared(n, ops int) {
	warmed("shared", ops/n*n, func(ops int) {
		each := max(ops/n, 1)
		stop := make(chan struct{})
		done := make(chan int, n)
		links := make([]chan int, n)
		for i := range links {
			in := make(chan int)
			links[i] = in
			go func() {
				received := 0
				for {
					select {
					case i := <-in:
						expect(i, received)
						received++
					case <-stop:
						done <- received
						return
					}
				}
			}()
		}
		for i := range each {
			for _, out := range links {
				out <- i
			}
		}
		close(stop)
		for range n {
			expect(<-done, each)
		}
	})
}

// selectArms: ping-pong in which the answering side selects over arms
// unbuffered channels, and the asking side takes them in turn. The cases are
// written out, as in a program: reflect.Select is several times slower.
func selectArms(arms, ops int) {
	answer, known := map[int]func([]chan int, chan int, int){
		1: answerOne, 2: answerTwo, 8: answerEight, 64: answerSixtyFour,
	}[arms]
	if !known {
		fail("arms: there are selects of 1, 2, 8 and 64")
	}
	warmed("arms", ops, func(ops int) {
		links := make([]chan int, arms)
		for i := range links {
			links[i] = make(chan int)
		}
		pong := make(chan int)
		done := make(chan struct{})
		go answer(links, pong, ops)
		go func() {
			for i := range ops {
				links[i%arms] <- i
				expect(<-pong, i)
			}
			close(done)
		}()
		<-done
	})
}

func answerOne(in []chan int, pong chan int, ops int) {
	for range ops {
		var i int
		select {
		case i = <-in[0]:
		}
		pong <- i
	}
}

func answerTwo(in []chan int, pong chan int, ops int) {
	for range ops {
		var i int
		select {
		case i = <-in[0]:
		case i = <-in[1]:
		}
		pong <- i
	}
}

func answerEight(in []chan int, pong chan int, ops int) {
	for range ops {
		var i int
		select {
		case i = <-in[0]:
		case i = <-in[1]:
		case i = <-in[2]:
		case i = <-in[3]:
		case i = <-in[4]:
		case i = <-in[5]:
		case i = <-in[6]:
		case i = <-in[7]:
		}
		pong <- i
	}
}

func answerSixtyFour(in []chan int, pong chan int, ops int) {
	for range ops {
		var i int
		select {
		case i = <-in[0]:
		case i = <-in[1]:
		case i = <-in[2]:
		case i = <-in[3]:
		case i = <-in[4]:
		case i = <-in[5]:
		case i = <-in[6]:
		case i = <-in[7]:
		case i = <-in[8]:
		case i = <-in[9]:
		case i = <-in[10]:
		case i = <-in[11]:
		case i = <-in[12]:
		case i = <-in[13]:
		case i = <-in[14]:
		case i = <-in[15]:
		case i = <-in[16]:
		case i = <-in[17]:
		case i = <-in[18]:
		case i = <-in[19]:
		case i = <-in[20]:
		case i = <-in[21]:
		case i = <-in[22]:
		case i = <-in[23]:
		case i = <-in[24]:
		case i = <-in[25]:
		case i = <-in[26]:
		case i = <-in[27]:
		case i = <-in[28]:
		case i = <-in[29]:
		case i = <-in[30]:
		case i = <-in[31]:
		case i = <-in[32]:
		case i = <-in[33]:
		case i = <-in[34]:
		case i = <-in[35]:
		case i = <-in[36]:
		case i = <-in[37]:
		case i = <-in[38]:
		case i = <-in[39]:
		case i = <-in[40]:
		case i = <-in[41]:
		case i = <-in[42]:
		case i = <-in[43]:
		case i = <-in[44]:
		case i = <-in[45]:
		case i = <-in[46]:
		case i = <-in[47]:
		case i = <-in[48]:
		case i = <-in[49]:
		case i = <-in[50]:
		case i = <-in[51]:
		case i = <-in[52]:
		case i = <-in[53]:
		case i = <-in[54]:
		case i = <-in[55]:
		case i = <-in[56]:
		case i = <-in[57]:
		case i = <-in[58]:
		case i = <-in[59]:
		case i = <-in[60]:
		case i = <-in[61]:
		case i = <-in[62]:
		case i = <-in[63]:
		}
		pong <- i
	}
}
